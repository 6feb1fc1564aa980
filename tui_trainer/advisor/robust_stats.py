"""Robust statistics in plain Python, which is faster than numpy for windows this short."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

# The standard deviation of a normal distribution per median absolute deviation.
MAD_TO_SIGMA = 1.4826


def median(values: Sequence[float]) -> float:
    """The median of at least one value."""
    ordered = sorted(values)
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return ordered[half - 1] + (ordered[half] - ordered[half - 1]) / 2


def noise(values: Sequence[float]) -> float:
    """The standard deviation of the noise on a series with a trend, from the median absolute
    difference of neighbours; robust to a few outliers. 0 for fewer than 3 values."""
    if len(values) < 3:
        return 0.0
    jumps = sorted(abs(b - a) for a, b in pairwise(values))
    return MAD_TO_SIGMA * median(jumps) / 1.4142135623730951


def spread(values: Sequence[float]) -> float:
    """The standard deviation from the median absolute deviation. 0 for fewer than 2 values."""
    if len(values) < 2:
        return 0.0
    middle = median(values)
    return MAD_TO_SIGMA * median([abs(value - middle) for value in values])


def curve_noise(values: Sequence[float]) -> float:
    """The standard deviation of the noise on a smooth curve, from the median absolute second
    difference, which curvature hardly affects. 0 for fewer than 4 values."""
    if len(values) < 4:
        return 0.0
    bends = [abs(values[i + 1] - 2 * values[i] + values[i - 1]) for i in range(1, len(values) - 1)]
    return MAD_TO_SIGMA * median(bends) / 2.449489742783178


def slope(values: Sequence[float]) -> float:
    """The Theil–Sen slope of equidistant values, per value: the median of the slopes of all pairs
    (Sen 1968). 0 for fewer than 2 values."""
    pairs = [
        (values[j] - values[i]) / (j - i)
        for i in range(len(values))
        for j in range(i + 1, len(values))
    ]
    return median(pairs) if pairs else 0.0


def kendall(values: Sequence[float]) -> float:
    """The Mann–Kendall trend statistic as a standard normal deviate (Kendall 1975): below -2 the
    series falls, above 2 it rises, whatever the distribution of its noise. 0 for fewer than 4
    values."""
    count = len(values)
    if count < 4:
        return 0.0
    total = 0
    for i in range(count - 1):
        first = values[i]
        for j in range(i + 1, count):
            total += (values[j] > first) - (values[j] < first)
    deviation = (count * (count - 1) * (2 * count + 5) / 18) ** 0.5
    return float((total - (total > 0) + (total < 0)) / deviation)
