"""Thinning to columns and smoothing, against slow and plain versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.tui.charts import bins
from tui_trainer.tui.charts.model import Array
from tui_trainer.tui.charts.smoothing import smooth

NAN = math.nan
values = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(NAN)), min_size=0, max_size=300).map(
    lambda v: np.array(v, dtype=np.float64)
)


def plain_ema(data: Array, weight: float) -> list[float]:
    result, total, mass = [], 0.0, 0.0
    for value in data.tolist():
        if math.isnan(value):
            result.append(NAN)
            continue
        total = weight * total + (1 - weight) * value
        mass = weight * mass + (1 - weight)
        result.append(total / mass)
    return result


@settings(deadline=None)
@given(values, st.floats(0.001, 0.999))
def test_smoothing_equals_the_plain_recurrence(data: Array, weight: float) -> None:
    expected = np.array(plain_ema(data, weight), dtype=np.float64)
    np.testing.assert_allclose(smooth(data, weight), expected, rtol=1e-9, atol=1e-6)


def test_smoothing_of_a_long_series_reaches_over_many_blocks() -> None:
    data = np.random.default_rng(1).normal(size=70_000).cumsum()
    expected = np.array(plain_ema(data, 0.997))
    np.testing.assert_allclose(smooth(data, 0.997), expected, rtol=1e-9, atol=1e-9)


def test_the_first_smoothed_value_is_the_first_value() -> None:
    assert smooth(np.array([7.0, 1.0]), 0.99)[0] == pytest.approx(7.0)


@pytest.mark.parametrize("weight", [0.0, 1.0, -1.0, NAN])
def test_a_weight_outside_turns_smoothing_off(weight: float) -> None:
    data = np.array([1.0, 5.0, 2.0])
    assert smooth(data, weight).tolist() == [1.0, 5.0, 2.0]


@settings(deadline=None)
@given(values, st.integers(1, 60))
def test_thinning_keeps_every_extreme(data: Array, columns: int) -> None:
    x = np.arange(len(data), dtype=np.float64)
    thinned = bins.thin(x, data, 0.0, max(len(data) - 1.0, 1.0), columns)
    if np.isfinite(data).any():
        assert np.nanmin(thinned.low) == np.nanmin(data)
        assert np.nanmax(thinned.high) == np.nanmax(data)
    else:
        assert not np.isfinite(thinned.low).any()
    assert np.all((thinned.low <= thinned.high) | np.isnan(thinned.low))


@settings(deadline=None)
@given(values, st.integers(1, 60))
def test_thinning_equals_a_loop(data: Array, columns: int) -> None:
    x = np.arange(len(data), dtype=np.float64)
    end = max(len(data) - 1.0, 1.0)
    thinned = bins.thin(x, data, 0.0, end, columns)
    half = end / max(columns - 1, 1) / 2
    edges = np.linspace(-half, end + half, columns + 1)
    for column in range(columns):
        last = column == columns - 1
        inside = (x >= edges[column]) & (
            (x <= edges[column + 1]) if last else x < edges[column + 1]
        )
        finite = data[inside & np.isfinite(data)]
        if len(finite):
            assert (thinned.low[column], thinned.high[column]) == (finite.min(), finite.max())
        else:
            assert np.isnan(thinned.low[column])


def test_one_spike_in_a_million_is_kept() -> None:
    data = np.ones(1_000_000)
    data[654_321] = 99.0
    thinned = bins.thin(np.arange(1e6), data, 0.0, 1e6 - 1, 160)
    assert np.nanmax(thinned.high) == 99.0
    assert (thinned.high == 99.0).sum() == 1


def test_a_missing_sample_parts_columns_and_its_absence_joins_them() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    whole = bins.thin(x, np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 0.0, 4.0, 5)
    assert whole.joined.tolist() == [False, True, True, True, True]
    parted = bins.thin(x, np.array([1.0, 2.0, NAN, 4.0, 5.0]), 0.0, 4.0, 5)
    assert parted.joined.tolist() == [False, True, False, False, True]


def test_far_apart_samples_are_joined_over_empty_columns() -> None:
    thinned = bins.thin(np.array([0.0, 10.0]), np.array([1.0, 2.0]), 0.0, 10.0, 11)
    assert thinned.joined[10]
    assert np.isnan(thinned.low[1:10]).all()


def test_samples_outside_the_range_do_not_count() -> None:
    thinned = bins.thin(
        np.array([-5.0, 0.0, 5.0, 50.0]), np.array([9.0, 1.0, 2.0, 9.0]), 0.0, 5.0, 6
    )
    assert np.nanmax(thinned.high) == 2.0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 131_071), st.floats(0.0, 0.9), st.floats(0.02, 0.1), st.integers(20, 300))
def test_a_spike_of_one_row_among_a_million_marks_its_column(
    bucket: int, begin: float, width: float, columns: int
) -> None:
    """Of a thinned table only the least and greatest of each entry are known; that is enough at
    any zoom that has the spike in view."""
    x = np.arange(8.0, 8.0 * 131_072 + 8, 8.0)
    low, high = LOW, HIGH.copy()
    high[bucket] = 42.0
    for first, last in ((x[0], x[-1]), (begin * x[-1], (begin + width) * x[-1])):
        seen = (x >= first) & (x <= last)
        thinned = bins.thin(x[seen], low[seen], first, last, columns, high[seen])
        spikes = np.flatnonzero(thinned.high == 42.0)
        if seen[bucket]:
            expected_column = (x[bucket] - first) / (last - first) * (columns - 1)
            assert len(spikes) == 1 and abs(spikes[0] - expected_column) <= 0.5 + 1e-6
        else:
            assert not len(spikes)


LOW = np.random.default_rng(3).normal(1.0, 0.1, 131_072)
HIGH = LOW + 0.2
