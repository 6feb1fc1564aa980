"""The layout of a chart: axes, ticks, gutters."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tui_trainer.text import formats
from tui_trainer.tui.charts import scale
from tui_trainer.tui.charts.model import Array, ChartLine, ChartSpec
from tui_trainer.tui.charts.scale import Axis

_ROWS_PER_TICK = 3
_COLUMNS_PER_TICK = 12


@dataclass(frozen=True)
class ChartFrame:
    """The plot's position in cells and its axes. `left` is the width of the y axis with its labels,
    `top` the height of the title; `axis_row` and `label_row` are None without room for them."""

    left: int
    top: int
    columns: int
    rows: int
    x: Axis
    y: Axis
    y_labels: dict[int, str]
    x_labels: dict[int, str]
    axis_row: int | None
    label_row: int | None

    def column_of(self, x: float) -> int | None:
        """The plot column of a data value, or None outside the chart."""
        column = int(self.columns_of(np.array([x], dtype=np.float64))[0])
        return None if column < 0 else column

    def columns_of(self, x: Array) -> NDArray[np.intp]:
        """The plot columns of data values, -1 outside the chart."""
        with np.errstate(all="ignore"):
            fractions = self.x.fraction(self.x.to_plot(x))
        half = 0.5 / max(self.columns - 1, 1)  # a column: step 0 is in the column of step 1
        inside = (fractions >= -half) & (fractions <= 1 + half)
        clipped = np.where(inside, np.clip(fractions, 0.0, 1.0), 0.0)
        columns: NDArray[np.intp] = np.rint(clipped * (self.columns - 1)).astype(np.intp)
        columns[~inside] = -1
        return columns


def visible(line: ChartLine, x: Axis) -> ChartLine:
    """The part of a line within the x axis: x in plot units, ascending, without NaN."""
    count = min(len(line.x), len(line.y))
    xs, ys = x.to_plot(np.asarray(line.x[:count], np.float64)), np.asarray(line.y[:count])
    tops = None if line.top is None else line.top[:count]
    if len(xs) and np.isnan(np.sum(xs)):
        known = ~np.isnan(xs)
        xs, ys, tops = xs[known], ys[known], None if tops is None else tops[known]
    if len(xs) > 1 and bool((xs[1:] < xs[:-1]).any()):
        order = np.argsort(xs, kind="stable")
        xs, ys, tops = xs[order], ys[order], None if tops is None else tops[order]
    margin = (x.high - x.low) * 1e-9
    first = int(np.searchsorted(xs, x.low - margin, side="left"))
    last = int(np.searchsorted(xs, x.high + margin, side="right"))
    tops = None if tops is None else tops[first:last]
    return replace(line, x=xs[first:last], y=ys[first:last], top=tops)


def x_axis(spec: ChartSpec) -> Axis:
    """The x axis as specified, or of the lines' range."""
    if spec.x_range is not None:
        return scale.exact_axis(*spec.x_range, log=spec.log_x)
    ends: list[float] = []
    for line in spec.lines:
        limits = scale.full_limits(scale.to_plot(np.asarray(line.x, np.float64), spec.log_x))
        ends.extend(limits or ())
    if not ends:
        return Axis(0.0, 1.0)
    low, high = min(ends), max(ends)
    if high - low <= max(abs(low), abs(high)) * 1e-12:
        room = max(abs(low) * 1e-3, 0.5)
        return Axis(low - room, high + room, spec.log_x)
    return Axis(low, high, spec.log_x)


def y_axis(spec: ChartSpec, lines: tuple[ChartLine, ...]) -> Axis:
    """The y axis as specified, or of the lines' visible part."""
    if spec.y_range is not None:
        return scale.exact_axis(*spec.y_range, log=spec.log_y)
    find = scale.robust_limits if spec.robust else scale.full_limits
    ends = [side for line in lines for side in (line.y, line.top) if side is not None]
    found = [limits for side in ends if (limits := find(scale.to_plot(side, spec.log_y)))]
    if not found:
        return scale.make_axis(None, spec.log_y)
    low, high = min(one[0] for one in found), max(one[1] for one in found)
    return scale.make_axis((low, high), spec.log_y)


def layout(spec: ChartSpec, width: int, height: int, x: Axis, y: Axis) -> ChartFrame:
    """Divide `width`×`height` cells between title, axes, labels and plot."""
    top = 1 if height >= 2 else 0
    axis_rows = 2 if height >= 6 else (1 if height >= 5 else 0)
    rows = max(1, height - top - axis_rows)
    labels = _y_labels(spec, y, rows)
    gutter = max((len(label) for label in labels.values()), default=0) + 1
    if gutter > width // 3 or height < 4:
        gutter, labels = (1 if width >= 8 and height >= 4 else 0), {}
    columns = max(1, width - gutter)
    return ChartFrame(
        left=gutter,
        top=top,
        columns=columns,
        rows=rows,
        x=x,
        y=y,
        y_labels=labels,
        x_labels=_x_labels(spec, x, columns) if axis_rows == 2 else {},
        axis_row=top + rows if axis_rows else None,
        label_row=top + rows + 1 if axis_rows == 2 else None,
    )


def _y_labels(spec: ChartSpec, y: Axis, rows: int) -> dict[int, str]:
    values = scale.ticks(y, max(2, rows // _ROWS_PER_TICK) if rows > 2 else 1)
    values = [value for value in values if 0 <= _fraction(y, value) <= 1]
    names = formats.tick_labels(values, spec.y_format)
    labels: dict[int, str] = {}
    for value, name in zip(values, names, strict=True):
        labels.setdefault(round((1 - _fraction(y, value)) * (rows - 1)), name)
    return labels


def _x_labels(spec: ChartSpec, x: Axis, columns: int) -> dict[int, str]:
    """Labels by the column of their tick, "" for one without room."""
    count = max(1, columns // _COLUMNS_PER_TICK)
    room = (x.high / 2 - x.low / 2) / columns  # half a column: 0 is a tick of 1..2,000
    wider = Axis(x.low - room, x.high + room, x.log)
    values = [v for v in scale.ticks(wider, count) if math.isfinite(_fraction(x, v))]
    names = formats.tick_labels(values, spec.x_format)
    labels: dict[int, str] = {}
    free, end = 0, columns - (len(axis_name(spec, columns)) + 1)
    for value, name in zip(values, names, strict=True):
        column = round(min(max(_fraction(x, value), 0.0), 1.0) * (columns - 1))
        start = label_start(column, name, columns)
        fits = free <= start and start + len(name) <= end
        labels[column] = name if fits else ""
        free = start + len(name) + 2 if fits else free
    return labels


def axis_name(spec: ChartSpec, columns: int) -> str:
    """The x axis' name, shown at its right end; "" without room."""
    name = formats.clean(f"{spec.x_label} log" if spec.log_x else spec.x_label)
    return name if name.isascii() and len(name) * 4 <= columns else ""


def label_start(column: int, label: str, columns: int) -> int:
    """The first column of a label centred on its tick and kept inside the plot."""
    return max(0, min(column - len(label) // 2, columns - len(label)))


def _fraction(axis: Axis, value: float) -> float:
    """The position of a tick along an axis, 0..1 within it; NaN for one that a log axis lacks."""
    if axis.log:
        value = math.log10(value) if value > 0 else math.nan
    return (value / 2 - axis.low / 2) / (axis.high / 2 - axis.low / 2)
