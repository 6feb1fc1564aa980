"""Thinning and smoothing: many samples to few columns, in numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_trainer.tui.charts.model import Array

_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Bins:
    """The lowest and highest value per column, NaN where a column has none.

    `joined[c]` says that the line goes on from the nearest filled column left of `c` to `c`:
    no missing sample lies between them.
    """

    low: Array
    high: Array
    joined: NDArray[np.bool_]


def thin(x: Array, y: Array, x_low: float, x_high: float, columns: int) -> Bins:
    """Minimum and maximum of `y` per column over `x_low..x_high`; `x` ascending.

    A column takes the samples nearest to its centre, so a sample at either end falls into the
    first or last column. Every sample counts: a spike of one sample stays visible.
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
    high[filled] = np.fmax.reduceat(inside, begin)
    _join(inside, begin, np.flatnonzero(np.isfinite(low)), starts, joined)
    return Bins(low, high, joined)


def _join(
    y: Array,
    begin: NDArray[np.intp],
    solid: NDArray[np.intp],
    starts: NDArray[np.intp],
    joined: NDArray[np.bool_],
) -> None:
    """Sets `joined` for the columns in `solid` that have no gap to the one before."""
    if len(solid) < 2:
        return
    missing = np.isnan(y[begin[0] :])
    if not missing.any():
        joined[solid[1:]] = True
        return
    offset = int(begin[0])
    finite = np.flatnonzero(~missing) + offset
    # First and last finite sample of each solid column; between them only whole neighbours.
    first = finite[np.searchsorted(finite, starts[solid], side="left")]
    last = finite[np.searchsorted(finite, starts[solid + 1], side="left") - 1]
    joined[solid[1:]] = first[1:] == last[:-1] + 1


def smooth(values: Array, weight: float) -> Array:
    """Exponential moving average, debiased; `weight` of the past in 0..1, 0 is off.

    A missing sample stays missing and leaves the average as it was. Debiased means divided by
    the sum of the weights so far, so that the start is not drawn towards zero.
    """
    if not 0 < weight < 1:
        return values
    known = np.isfinite(values)
    present = values if known.all() else values[known]
    if not len(present):
        return values
    averaged = _recur(present * (1 - weight), weight)
    counts = np.arange(1, len(present) + 1, dtype=np.float64)
    averaged /= -np.expm1(counts * math.log(weight))
    if len(present) == len(values):
        return averaged
    result = np.full(len(values), np.nan)
    result[known] = averaged
    return result


def _recur(values: Array, weight: float) -> Array:
    """`s[i] = weight * s[i-1] + values[i]` by blocks: one product within the blocks, the same
    recurrence over the blocks' last values (64 times fewer), and one product to carry over."""
    count = len(values)
    if count == 0:
        return values
    blocks = -(-count // _BLOCK)
    padded = np.zeros(blocks * _BLOCK)
    padded[:count] = values
    powers = weight ** np.arange(_BLOCK + 1, dtype=np.float64)
    lag = np.arange(_BLOCK)[None, :] - np.arange(_BLOCK)[:, None]
    kernel = np.where(lag >= 0, powers[np.clip(lag, 0, _BLOCK)], 0.0)
    within = padded.reshape(blocks, _BLOCK) @ kernel
    if blocks > 1:
        ends = _recur(within[:-1, -1], float(powers[_BLOCK]))
        within[1:] += ends[:, None] * powers[None, 1:]
    return np.asarray(within.reshape(-1)[:count])
