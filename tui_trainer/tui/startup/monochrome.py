"""Grey instead of colours, for `NO_COLOR`."""

from __future__ import annotations

import os

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter, monochrome_style

_NO_STYLE = Style.null()


def no_color_wanted() -> bool:
    """Whether `NO_COLOR` is set to something: an empty value does not count (no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


class GreyFilter(LineFilter):
    """Replaces every colour by the grey of its brightness. Textual's own filter does the same but
    fails on text without a style."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.control
            else Segment(segment.text, monochrome_style(segment.style or _NO_STYLE))
            for segment in segments
        ]
