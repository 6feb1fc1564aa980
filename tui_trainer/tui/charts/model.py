"""The specification of a chart: numbers and styles, independent of the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

Array = NDArray[np.float64]
Role = Literal["raw", "smooth", "validation", "series"]
Marks = Literal["braille", "ascii"]
MarkKind = Literal["checkpoint", "evaluation", "learning_rate", "resumed", "advice"]
# "number" for any quantity, "duration" for seconds, "clock" for seconds since the epoch.
Format = Literal["number", "duration", "clock"]

GLYPHS: Mapping[MarkKind, str] = MappingProxyType(
    {"checkpoint": "c", "evaluation": "e", "learning_rate": "l", "resumed": "r", "advice": "!"}
)


@dataclass(frozen=True, eq=False)
class ChartLine:
    """One line or one row of marks: `x` and `y` of one length, NaN in `y` is a gap.

    `raw` is drawn faint at the bottom, `smooth` bright above it, `validation` as marks on top;
    `series` are lines of equal rank, distinguished by `colour`, the first one on top.
    An `x` that is not ascending is sorted. With `top`, of the same length, each entry is a span
    from `y` to `top`: the lowest and the highest of several values.
    `tag` is one character shown at the line's end; a `strong` line is bold.
    """

    x: Array
    y: Array
    role: Role = "series"
    label: str = ""
    colour: int = 0
    top: Array | None = None
    tag: str = ""
    strong: bool = False


@dataclass(frozen=True)
class ChartMark:
    """An event on the x axis; `glyph` is one narrow character."""

    x: float
    glyph: str
    kind: MarkKind


def mark(kind: MarkKind, x: float) -> ChartMark:
    """An event with the glyph of its kind."""
    return ChartMark(x, GLYPHS[kind], kind)


@dataclass(frozen=True)
class HighlightWindow:
    """A highlighted range of x, and the levels of y to compare it with: the level before, or the
    two ends of the normal band. They are drawn up to `until`, by default to its end."""

    first: float
    last: float
    levels: tuple[float, ...] = ()
    until: float | None = None


@dataclass(frozen=True, eq=False)
class ChartSpec:
    """Everything about a chart except its size and colours.

    `title` is bright at the top left, `detail` faint after it, the legend on the right.
    `x_range` and `y_range` fix an axis, in data units; `robust=False` shows every point instead
    of clipping single outliers (for a learning rate, whose warmup is no outlier).
    `cursor_x` is the x of a vertical line; `windows` are marked on the axis, with their levels.
    `empty` is the text shown if there is nothing to draw.
    """

    title: str
    lines: tuple[ChartLine, ...] = ()
    marks: tuple[ChartMark, ...] = ()
    detail: str = ""
    x_label: str = "step"
    x_format: Format = "number"
    y_format: Format = "number"
    log_y: bool = False
    log_x: bool = False
    robust: bool = True
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    cursor_x: float | None = None
    windows: tuple[HighlightWindow, ...] = ()
    dimmed: bool = False
    legend: bool = True
    empty: str = "no data yet"


@dataclass(frozen=True)
class Palette:
    """Styles by meaning. The defaults have no colour and work in every terminal."""

    raw: Style = field(default_factory=lambda: Style(dim=True))
    smooth: Style = field(default_factory=lambda: Style(bold=True))
    validation: Style = field(default_factory=lambda: Style(bold=True))
    axis: Style = field(default_factory=lambda: Style(dim=True))
    title: Style = field(default_factory=lambda: Style(bold=True))
    faint: Style = field(default_factory=lambda: Style(dim=True))
    accent: Style = field(default_factory=Style)
    clipped: Style = field(default_factory=lambda: Style(bold=True))
    cursor: Style = field(default_factory=Style)
    series: tuple[Style, ...] = (Style(bold=True),)
    marks: Mapping[str, Style] = field(default_factory=dict)

    def of_series(self, colour: int) -> Style:
        """The style of a series by its colour index, wrapping around."""
        return self.series[colour % len(self.series)] if self.series else self.smooth

    def of_mark(self, kind: str) -> Style:
        """The style of an event mark."""
        return self.marks.get(kind, self.accent)
