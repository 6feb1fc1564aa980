"""The range and ticks of an axis: limits robust to outliers, and round ticks.

Limits of a line with many points: its samples (every k-th, 4,096 at most) are cut in order into
64 bins; `low` is the 2 % quantile of the bins' 10 % quantiles, `high` the 98 % quantile of the
bins' 90 % quantiles. Both are widened by half of `high - low`, but never past the true extremes.
So a descending curve is shown completely, and a first step or a single spike, which affects one
bin in 64, is clipped. A line of few points is clipped at its most extreme point only if that is
further from the others than twice their range. A chart uses the union of its lines' limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tui_trainer.tui.charts.model import Array

_SAMPLES = 4096
_BINS = 64
_FEW = 24
_PADDING = 0.04
_HUGE = 1e300  # sums and differences of limits stay finite below it


@dataclass(frozen=True)
class Axis:
    """A range in plot units: data units, or common logarithms if `log` is set."""

    low: float
    high: float
    log: bool = False

    def to_plot(self, values: Array) -> Array:
        """Data to plot units; NaN for values without a logarithm."""
        return to_plot(values, self.log)

    def fraction(self, values: Array) -> Array:
        """Plot units to 0..1 along the axis; monotone, not clipped."""
        # Halves, so that the difference of two huge limits cannot overflow.
        return (values / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    def value(self, fraction: float) -> float:
        """The data value at a position (0..1) along the axis."""
        plot = self.low * (1 - fraction) + self.high * fraction
        return 10.0 ** min(plot, 308.0) if self.log else plot


def to_plot(values: Array, log: bool) -> Array:
    """Finite data in plot units; everything else NaN."""
    with np.errstate(all="ignore"):
        plot = np.log10(np.where(values > 0, values, np.nan)) if log else values
        if bool(np.isfinite(np.sum(plot))):  # one pass in the common case: nothing to replace
            return plot
        return np.where(np.isfinite(plot), np.clip(plot, -_HUGE, _HUGE), np.nan)


def robust_limits(values: Array) -> tuple[float, float] | None:
    """Limits of one line in plot units by the formula above; None without a finite value."""
    extremes = full_limits(values)
    if extremes is None:
        return None
    present = values[:: max(1, -(-len(values) // _SAMPLES))]
    present = np.clip(present[np.isfinite(present)], -_HUGE, _HUGE)
    if len(present) < 4:
        return extremes
    if len(present) < _FEW:
        return _without_one(present)
    count = min(_BINS, len(present))
    size, more = divmod(len(present), count)  # the first bins have one more, which is left out
    starts = np.arange(count) * size + np.minimum(np.arange(count), more)
    table = present[starts[:, None] + np.arange(size)]
    table.sort(axis=1)
    low = float(_of_sorted(np.sort(_of_sorted(table, 0.1)), 0.02))
    high = float(_of_sorted(np.sort(_of_sorted(table, 0.9)), 0.98))
    room = (high - low) / 2
    return max(low - room, extremes[0]), min(high + room, extremes[1])


def _of_sorted(values: Array, share: float) -> Array:
    """The quantile along the last axis of sorted values, linearly interpolated."""
    position = share * (values.shape[-1] - 1)
    below = math.floor(position)
    above = min(below + 1, values.shape[-1] - 1)
    part = position - below
    found: Array = values[..., below] * (1 - part) + values[..., above] * part
    return found


def full_limits(values: Array) -> tuple[float, float] | None:
    """The extremes in plot units; None without a finite value."""
    if not len(values):
        return None
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    return None if math.isnan(low) else (_held(low), _held(high))


def _held(value: float) -> float:
    """`value`, limited so that sums stay finite."""
    return min(max(value, -_HUGE), _HUGE)


def _without_one(values: Array) -> tuple[float, float]:
    order = np.sort(values)
    low, high = float(order[0]), float(order[-1])
    if high - order[-2] > 2 * (order[-2] - low) + 0.5 * abs(order[-2]):
        return low, float(order[-2])
    if order[1] - low > 2 * (high - order[1]) + 0.5 * abs(order[1]):
        return float(order[1]), high
    return low, high


def make_axis(limits: tuple[float, float] | None, log: bool = False) -> Axis:
    """An axis with some padding around `limits` (plot units); never empty, and not below zero for
    data that are not."""
    if limits is None:
        return Axis(0.0, 1.0, log)
    low, high = limits
    if high - low <= max(abs(low), abs(high)) * 1e-9:
        room = max(abs(high) * 0.1, 1e-12 if high else 1.0)
    else:
        room = (high - low) * _PADDING
    floor = 0.0 if low >= 0 and not log else -math.inf
    return Axis(max(low - room, floor), high + room, log)


def exact_axis(low: float, high: float, log: bool = False) -> Axis:
    """An axis from `low` to `high` in data units; widened if empty."""
    ends = to_plot(np.array([low, high], dtype=np.float64), log)
    first, last = float(np.nanmin(ends, initial=np.inf)), float(np.nanmax(ends, initial=-np.inf))
    if not (math.isfinite(first) and math.isfinite(last)):
        return Axis(0.0, 1.0, log)
    if last - first <= max(abs(first), abs(last)) * 1e-12:
        room = max(abs(first) * 1e-3, 0.5)
        return Axis(first - room, last + room, log)
    return Axis(first, last, log)


def ticks(axis: Axis, count: int) -> list[float]:
    """About `count` round data values within the axis, ascending."""
    if count < 1:
        return []
    return _log_ticks(axis, count) if axis.log else nice_ticks(axis.low, axis.high, count)


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in `low..high`, their number nearest to `count`
    (the lower of two equally near); none for an empty range."""
    span = high - low
    if not math.isfinite(span) or span <= 0 or count < 1:
        return []
    best: list[float] = []
    for step in _nice_steps(span / count):
        if abs(high) / step > 1e12 or abs(low) / step > 1e12:
            continue
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        found = [0.0 if k == 0 else k * step for k in range(first, last + 1)]
        if not best or abs(len(found) - count) <= abs(len(best) - count):
            best = found
    return best


def _nice_steps(rough: float) -> list[float]:
    """Steps of 1, 2 or 5 times a power of ten around `rough`, ascending."""
    if rough < 1e-300:
        return []
    power = math.floor(math.log10(rough))
    # Parsed from text, so that the steps are exact to the last bit.
    return [float(f"{factor}e{power}") for factor in (1, 2, 5)] + [float(f"1e{power + 1}")]


def _log_ticks(axis: Axis, count: int) -> list[float]:
    """Powers of ten, with 2 and 5 between them if there is room; evenly spaced round values if
    less than one decade is visible."""
    if axis.high - axis.low < 1:
        return nice_ticks(axis.value(0), axis.value(1), count)
    first, last = math.ceil(axis.low - 1e-9), math.floor(axis.high + 1e-9)
    decades = [_power(k) for k in range(first, last + 1) if -300 < k < 300]
    finer = [
        _power(k) * m
        for k in range(max(first - 1, -299), min(last + 1, 300))
        for m in (1, 2, 5)
        if axis.low <= k + math.log10(m) <= axis.high
    ]
    if len(finer) <= count + 1:
        return finer
    return decades[:: max(1, -(-len(decades) // (count + 2)))]


def _power(exponent: int) -> float:
    return float(f"1e{exponent}")
