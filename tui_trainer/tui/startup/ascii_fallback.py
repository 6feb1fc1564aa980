"""ASCII characters for terminals whose locale is not Unicode."""

from __future__ import annotations

import locale
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

if TYPE_CHECKING:
    from tui_trainer.contracts.settings import ChartSettings
    from tui_trainer.tui.charts.model import Marks

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("━▔▁▂─", "-"),
        **dict.fromkeys("│┃▌▐▎▏▊▋▍", "|"),
        **dict.fromkeys("▃▄▅", "="),
        **dict.fromkeys("▆▇█", "#"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯", "+"),
        **dict.fromkeys("·•", "."),
        **dict.fromkeys("–—", "-"),
        "◆": "o",
        "…": "~",
        "×": "x",
        "°": " ",
        "←": "<",
        "→": ">",
        "↑": "^",
        "↓": "v",
        "▼": "v",
        "▶": ">",
        "✔": "x",
        "✗": "x",
        "›": ">",
        "●": "*",
        "○": "o",
    }
)


def locale_has_unicode() -> bool:
    """Whether the locale's characters are Unicode.

    Python's own UTF-8 mode, which the C locale turns on, says nothing about the terminal.
    """
    return locale.getencoding().lower().replace("-", "").startswith("utf")


def chart_marks(settings: ChartSettings) -> Marks:
    """The marks that draw the charts: as configured, or as the locale allows."""
    if settings.marks == "auto":
        return "braille" if locale_has_unicode() else "ascii"
    return settings.marks


class AsciiFallback(LineFilter):
    """Replaces every character outside ASCII by one of the same width inside it."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.control or segment.text.isascii()
            else Segment(to_ascii(segment.text), segment.style)
            for segment in segments
        ]


def to_ascii(text: str) -> str:
    """`text` in ASCII characters of the same width in cells."""
    return "".join(
        character if character.isascii() else "?" * Segment(character).cell_length
        for character in text.translate(_PLAIN)
    )
