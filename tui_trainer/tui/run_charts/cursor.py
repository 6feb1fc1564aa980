"""A cursor among the recorded steps of a run. Pure."""

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
    """The steps that a cursor stops at: the training rows, or the evaluations of a run that
    has no others."""
    return (view.train if len(view.train) else view.evals).column("step")


def at_place(view: RunView, axis: XAxis, x: float) -> float | None:
    """The recorded step nearest to a place on the axis."""
    steps, places = steps_of(view), x_of(view, axis, not len(view.train))
    if not len(steps) or len(places) != len(steps) or not math.isfinite(x):
        return None
    off = np.abs(places - x)
    return None if np.isnan(off).all() else float(steps[int(np.nanargmin(off))])


def moved(
    view: RunView, axis: XAxis, step: float, columns: float, shown: Range | None, across: int
) -> float | None:
    """The step some columns of the chart further on (or back), one recorded step at least.

    `shown` is the part of the axis on the chart, `across` its width in columns.
    """
    steps, places = steps_of(view), x_of(view, axis, not len(view.train))
    if not len(steps) or len(places) != len(steps):
        return None
    at = min(int(np.searchsorted(steps, step)), len(steps) - 1)
    inside = len(steps)
    if shown is not None:
        inside = int(((places >= shown[0]) & (places <= shown[1])).sum())
    per_column = inside / max(across * _DOTS, 1)
    stride = max(1, round(abs(columns) * per_column)) * (1 if columns > 0 else -1)
    if abs(columns) > 1 and per_column < 1:
        stride = round(columns)  # few steps: a large step is so many of them
    return float(steps[min(max(at + stride, 0), len(steps) - 1)])


def end_of(view: RunView, axis: XAxis, shown: Range | None, last: bool) -> float | None:
    """The first or last recorded step on the chart."""
    steps, places = steps_of(view), x_of(view, axis, not len(view.train))
    if len(places) != len(steps):
        return None
    if shown is not None:
        width = (shown[1] - shown[0]) * 1e-9
        steps = steps[(places >= shown[0] - width) & (places <= shown[1] + width)]
    return float(steps[-1 if last else 0]) if len(steps) else None
