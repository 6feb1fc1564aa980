"""Charts as rows of text, every row of exactly the width asked for."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len
from rich.style import Style

from tui_trainer.tui.charts.draw import draw_chart
from tui_trainer.tui.charts.model import Array, ChartLine, ChartSpec, Marks, Palette, Role

PALETTE = Palette(
    raw=Style(color="blue"),
    smooth=Style(color="cyan"),
    validation=Style(color="yellow"),
    clipped=Style(color="red"),
    cursor=Style(color="white"),
    series=(Style(color="green"), Style(color="magenta")),
    marks={"checkpoint": Style(color="green")},
)


def drawn(spec: ChartSpec, width: int, height: int, marks: Marks = "braille") -> list[str]:
    strips = draw_chart(spec, width, height, PALETTE, marks)
    for strip in strips:
        assert strip.cell_length == width
        assert sum(cell_len(segment.text) for segment in strip) == width
    assert len(strips) == height
    return [strip.text for strip in strips]


def line(y: list[float] | Array, role: Role = "series", label: str = "") -> ChartLine:
    values = np.array(y, dtype=np.float64)
    return ChartLine(np.arange(len(values), dtype=np.float64), values, role, label)


def has_dots(text: str) -> bool:
    return any("\u2801" <= character <= "\u28ff" for character in text)
