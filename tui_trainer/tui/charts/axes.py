"""The axes of a chart, with their labels and the marks of events."""

from __future__ import annotations

import numpy as np

from tui_trainer.tui.charts import layout
from tui_trainer.tui.charts.canvas import Canvas
from tui_trainer.tui.charts.layout import ChartFrame
from tui_trainer.tui.charts.model import (
    ChartMark,
    ChartSpec,
    HighlightWindow,
    MarkKind,
    Marks,
    Palette,
)

# Of several marks in a column the first of these kinds is shown; frequent kinds are thinned.
_RANK: tuple[MarkKind, ...] = ("advice", "resumed", "learning_rate", "checkpoint", "evaluation")
_THINNED = ("checkpoint", "evaluation")


def draw_axes(
    canvas: Canvas, spec: ChartSpec, frame: ChartFrame, palette: Palette, marks: Marks
) -> None:
    """The two axes, their labels and the events on the lower one."""
    upright, tick, corner, flat, down = "│┤└─┬" if marks == "braille" else "|++-+"
    if frame.left:
        canvas.write_down(frame.top, frame.left - 1, frame.rows, upright, palette.axis)
        for row, label in frame.y_labels.items():
            line = f"{label:>{frame.left - 1}}"
            canvas.write(frame.top + row, 0, line, palette.faint)
            canvas.write(frame.top + row, frame.left - 1, tick, palette.axis)
    if frame.axis_row is None:
        return
    if frame.left:
        canvas.write(frame.axis_row, frame.left - 1, corner, palette.axis)
    canvas.write(frame.axis_row, frame.left, flat * frame.columns, palette.axis)
    for window in spec.windows:
        ends = columns_of(window, frame)
        if ends is not None:
            bar = ("━" if marks == "braille" else "=") * (ends[1] - ends[0] + 1)
            canvas.write(frame.axis_row, frame.left + ends[0], bar, palette.of_mark("advice"))
    for column, label in frame.x_labels.items():
        canvas.write(frame.axis_row, frame.left + column, down, palette.axis)
        if frame.label_row is not None:
            start = frame.left + layout.label_start(column, label, frame.columns)
            canvas.write(frame.label_row, start, label, palette.faint)
    if frame.label_row is not None:
        name = layout.axis_name(spec, frame.columns)
        canvas.write(frame.label_row, canvas.width - len(name), name, palette.faint)
    for column, item in _mark_columns(spec.marks, frame).items():
        canvas.write(frame.axis_row, frame.left + column, item.glyph, palette.of_mark(item.kind))


def columns_of(window: HighlightWindow, frame: ChartFrame) -> tuple[int, int] | None:
    """The first and last plot column of a window; None if it is not visible."""
    ends = np.array([window.first, window.last], dtype=np.float64)
    fractions = frame.x.fraction(frame.x.to_plot(ends))
    if not np.isfinite(fractions).all() or fractions[1] < 0 or fractions[0] > 1:
        return None
    first, last = np.rint(np.clip(fractions, 0.0, 1.0) * (frame.columns - 1)).astype(int).tolist()
    return first, last


def _mark_columns(marks: tuple[ChartMark, ...], frame: ChartFrame) -> dict[int, ChartMark]:
    """At most one mark per column; checkpoints and evaluations at least four columns apart, always
    including the newest."""
    taken: dict[int, ChartMark] = {}
    for kind in _RANK:
        found = [mark for mark in marks if mark.kind == kind]
        if not found:
            continue
        columns = frame.columns_of(np.array([mark.x for mark in found], dtype=np.float64))
        newest = dict(zip(columns.tolist(), found, strict=True))  # the last one of a column is kept
        last: int | None = None
        for column in sorted(newest, reverse=True):
            if column < 0 or column in taken:
                continue
            if kind in _THINNED and last is not None and last - column < 4:
                continue
            taken[column] = newest[column]
            last = column
    return taken
