"""A cursor on the recorded steps of a run. No I/O."""

from __future__ import annotations

import math

import numpy as np

from tui_trainer.tui.charts.model import Array
from tui_trainer.tui.run_charts.viewport import Range
from tui_trainer.tui.run_charts.x_axis import XAxis, x_of
from tui_trainer.watch.snapshots import RunView

LEAP = 10  # columns that a large step moves
_DOTS = 2  # of a column, across


def steps_of(view: RunView) -> Array:
    """The steps at which a cursor stops: those of the training rows, or of the evaluations if a
    run has nothing else."""
    return (view.train if len(view.train) else view.evals).column("step")


def nearest_step(view: RunView, axis: XAxis, x: float) -> float | None:
    """The recorded step nearest to a position on the axis."""
    steps, positions = steps_of(view), x_of(view, axis, not len(view.train))
    if not len(steps) or len(positions) != len(steps) or not math.isfinite(x):
        return None
    off = np.abs(positions - x)
    return None if np.isnan(off).all() else float(steps[int(np.nanargmin(off))])


def moved(
    view: RunView, axis: XAxis, step: float, columns: float, shown: Range | None, across: int
) -> float | None:
    """The step `columns` of the chart later (negative: earlier), at least one recorded step away.

    `shown` is the visible range of the axis, `across` its width in columns.
    """
    steps, positions = steps_of(view), x_of(view, axis, not len(view.train))
    if not len(steps) or len(positions) != len(steps):
        return None
    at = min(int(np.searchsorted(steps, step)), len(steps) - 1)
    inside = len(steps)
    if shown is not None:
        inside = int(((positions >= shown[0]) & (positions <= shown[1])).sum())
    per_column = inside / max(across * _DOTS, 1)
    stride = max(1, round(abs(columns) * per_column)) * (1 if columns > 0 else -1)
    if abs(columns) > 1 and per_column < 1:
        stride = round(columns)  # fewer steps than columns: one step per column
    return float(steps[min(max(at + stride, 0), len(steps) - 1)])


def end_of(view: RunView, axis: XAxis, shown: Range | None, last: bool) -> float | None:
    """The first or last visible step."""
    steps, positions = steps_of(view), x_of(view, axis, not len(view.train))
    if len(positions) != len(steps):
        return None
    if shown is not None:
        width = (shown[1] - shown[0]) * 1e-9
        steps = steps[(positions >= shown[0] - width) & (positions <= shown[1] + width)]
    return float(steps[-1 if last else 0]) if len(steps) else None
