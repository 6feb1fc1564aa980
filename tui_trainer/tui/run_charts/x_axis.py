"""The x of the entries of a run on each kind of axis. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tui_trainer.tui.charts.model import Array, Format
from tui_trainer.tui.run_charts.viewport import Range
from tui_trainer.watch.snapshots import RunView

XAxis = Literal["step", "epoch", "tokens", "time", "clock"]
X_AXES: tuple[XAxis, ...] = ("step", "epoch", "tokens", "time", "clock")
FORMATS: dict[XAxis, Format] = {
    "step": "number", "epoch": "number", "tokens": "number", "time": "duration", "clock": "clock",
}  # fmt: skip
_EMPTY = np.empty(0)


def x_of(view: RunView, axis: XAxis, evals: bool = False) -> Array:
    """The x of every entry of a table; empty if the run does not record it.

    `time` is in seconds from the run's first row, `clock` in seconds since the epoch. Evaluations
    have the epoch and tokens of their step.
    """
    table = view.evals if evals else view.train
    if axis in ("step", "clock"):
        return table.column("step" if axis == "step" else "time")
    if axis == "time":
        times = table.column("time")
        begin = view.train.column("time")[:1]
        first = float(begin[0]) if len(begin) else float(times[:1].sum())
        return np.asarray(times - first, dtype=np.float64)
    of_train = running_tokens(view) if axis == "tokens" else view.train.column("epoch")
    if not evals:
        return of_train
    if not len(of_train):
        return table.column("epoch") if axis == "epoch" else _EMPTY
    return between(view.evals.column("step"), view.train.column("step"), of_train)


def running_tokens(view: RunView) -> Array:
    """The cumulative tokens at each entry."""
    table = view.train
    tokens = table.column("tokens")
    if table.weights is not None and len(tokens):
        tokens = tokens * table.weights  # means of `weights` rows each
    return np.asarray(np.nancumsum(tokens), dtype=np.float64)


def between(at: Array, x: Array, y: Array) -> Array:
    """`y` interpolated linearly at the positions `at`; NaN without any known value."""
    count = min(len(x), len(y))
    x, y = x[:count], y[:count]
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return np.full(len(at), np.nan)
    if not known.all():
        x, y = x[known], y[known]
    return np.asarray(np.interp(at, x, y), dtype=np.float64)


def extent(views: Sequence[RunView], axis: XAxis, log: bool = False) -> Range | None:
    """The lowest and highest x of the runs in plot units (common logarithms if `log`); None if
    they are equal or missing."""
    ends: list[float] = []
    for view in views:
        for x in (x_of(view, axis), x_of(view, axis, True)):
            ends += _ends(x, log)
    if not ends:
        return None
    low, high = min(ends), max(ends)
    return (low, high) if high > low else None


def available(views: Sequence[RunView]) -> list[XAxis]:
    """The axes with data; steps always."""
    return [axis for axis in X_AXES if axis == "step" or extent(views, axis) is not None]


def _ends(x: Array, log: bool) -> list[float]:
    if not len(x):
        return []
    if not log and np.isfinite(x[0]) and np.isfinite(x[-1]) and x[0] <= x[-1]:
        return [float(x[0]), float(x[-1])]
    known = x[np.isfinite(x)]
    known = known[known > 0] if log else known
    if not len(known):
        return []
    low, high = float(known.min()), float(known.max())
    return [float(np.log10(low)), float(np.log10(high))] if log else [low, high]
