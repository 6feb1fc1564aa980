"""Thinning of many samples to few columns, in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_trainer.tui.charts.model import Array


@dataclass(frozen=True, eq=False)
class Bins:
    """The lowest and highest value per column, NaN for a column without samples.

    `joined[c]`: the line continues from the nearest filled column left of `c` to `c`, as no
    sample is missing between them.
    """

    low: Array
    high: Array
    joined: NDArray[np.bool_]


def thin(
    x: Array, y: Array, x_low: float, x_high: float, columns: int, top: Array | None = None
) -> Bins:
    """Minimum of `y` and maximum of `top` (or `y`) per column over `x_low..x_high`; `x` ascending.

    A column has the samples nearest to its centre, so a sample at either end is in the first or
    last column. Every sample counts: a spike of one sample remains visible.
    """
    low = np.full(columns, np.nan)
    high = np.full(columns, np.nan)
    joined = np.zeros(columns, dtype=np.bool_)
    half = (x_high - x_low) / max(columns - 1, 1) / 2 if x_high > x_low else 0.5
    edges = np.linspace(x_low - half, x_high + half, columns + 1)
    starts = np.searchsorted(x, edges, side="left")
    starts[-1] = np.searchsorted(x, edges[-1], side="right")
    filled = np.flatnonzero(starts[1:] > starts[:-1])
    if not len(filled):
        return Bins(low, high, joined)
    # reduceat works on start points only, so the data are cut to the last end.
    inside = y[: starts[filled[-1] + 1]]
    begin = starts[filled]
    low[filled] = np.fmin.reduceat(inside, begin)
    above = inside if top is None else top[: len(inside)]
    high[filled] = np.fmax.reduceat(above, begin)
    _join(inside, begin, np.flatnonzero(np.isfinite(low)), starts, joined)
    return Bins(low, high, joined)


def _join(
    y: Array,
    begin: NDArray[np.intp],
    solid: NDArray[np.intp],
    starts: NDArray[np.intp],
    joined: NDArray[np.bool_],
) -> None:
    """Set `joined` for the columns in `solid` that have no gap to the one before."""
    if len(solid) < 2:
        return
    missing = np.isnan(y[begin[0] :])
    if not missing.any():
        joined[solid[1:]] = True
        return
    offset = int(begin[0])
    finite = np.flatnonzero(~missing) + offset
    # First and last finite sample of each solid column.
    first = finite[np.searchsorted(finite, starts[solid], side="left")]
    last = finite[np.searchsorted(finite, starts[solid + 1], side="left") - 1]
    joined[solid[1:]] = first[1:] == last[:-1] + 1
