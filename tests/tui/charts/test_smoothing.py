"""The average that is carried on equals the one that is worked out anew."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.tui.charts import smoothing
from tui_trainer.tui.charts.model import Array
from tui_trainer.tui.charts.smoothing import Ema, SmoothingCache, auto_weight, smooth, weight_text

values = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)), max_size=200)


def plain(data: list[float], weight: float) -> list[float]:
    """The definition, one value after the other."""
    result, total, mass = [], 0.0, 0.0
    for value in data:
        if math.isnan(value):
            result.append(math.nan)
            continue
        total, mass = weight * total + (1 - weight) * value, weight * mass + (1 - weight)
        result.append(total / mass)
    return result


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=8), st.floats(0.01, 0.99))
def test_a_growing_column(parts: list[list[float]], weight: float) -> None:
    ema, column = Ema(weight), list[float]()
    for part in parts:
        column = column + part
        got = ema.of(np.array(column)).copy()
        np.testing.assert_allclose(got, plain(column, weight), rtol=1e-9, atol=1e-5)


@settings(deadline=None)
@given(values, values, st.integers(0, 200), st.floats(0.01, 0.99))
def test_a_column_that_shrinks(
    first: list[float], second: list[float], keep: int, weight: float
) -> None:
    ema = Ema(weight)
    ema.of(np.array(first, dtype=np.float64))
    changed = first[:keep] + second
    for _ in range(2):  # the second time there is nothing new
        got = ema.of(np.array(changed, dtype=np.float64)).copy()
        np.testing.assert_allclose(got, plain(changed, weight), rtol=1e-9, atol=1e-5)


def test_the_last_value_may_still_change() -> None:
    ema = Ema(0.5)
    ema.of(np.array([4.0, 100.0]))
    assert ema.of(np.array([4.0, 1.0])).tolist() == plain([4.0, 1.0], 0.5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 5)), min_size=1, max_size=40),
       st.integers(0, 40), st.floats(0.1, 0.99))  # fmt: skip
def test_an_entry_counts_for_all_the_values_that_it_is_the_mean_of(
    entries: list[tuple[float, int]], seen: int, weight: float
) -> None:
    """As if each value had come so many times, carried on from anywhere."""
    each = np.array([value for value, count in entries for _ in range(count)])
    ends = np.cumsum([count for _, count in entries]) - 1
    means, counts = (np.array(column) for column in zip(*entries, strict=True))
    ema = Ema(weight)
    ema.of(means[:seen], counts[:seen].astype(np.int32))
    got = ema.of(means, counts.astype(np.int32))
    np.testing.assert_allclose(got, np.array(plain(each.tolist(), weight))[ends], atol=1e-8)


def test_rows_that_were_merged_later() -> None:
    """The newest entries of a thinned table are single rows, until they become one."""
    ema, single = Ema(0.9), np.ones(4, dtype=np.int32)
    ema.of(np.array([5.0, 1.0, 3.0, 2.0]), single)
    merged = ema.of(np.array([5.0, 2.0, 2.0]), np.array([1, 2, 1], dtype=np.int32))
    np.testing.assert_allclose(merged, np.array(plain([5.0, 2.0, 2.0, 2.0], 0.9))[[0, 2, 3]])


def test_only_what_is_new_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row more, of a column of many, goes through the recurrence alone."""
    seen: list[int] = []
    whole = smoothing._recur

    def counting(data: Array, decay: Array, before: float) -> Array:
        seen.append(len(data))
        return whole(data, decay, before)

    column = np.arange(10_000.0)
    ema = Ema(0.9)
    ema.of(column[:9_990])
    monkeypatch.setattr(smoothing, "_recur", counting)
    for count in range(9_991, 10_001):
        ema.of(column[:count])
    assert seen == [1] * 10


def test_a_session_keeps_the_averages_of_its_charts_apart() -> None:
    averages = SmoothingCache(most=2)
    one, two = np.array([1.0, 2.0]), np.array([5.0, 9.0])
    for _ in range(2):
        assert averages.of("one", one, 0.9).tolist() == smooth(one, 0.9).tolist()
        assert averages.of("two", two, 0.9).tolist() == smooth(two, 0.9).tolist()
        assert averages.of("one", one, 0.5).tolist() == smooth(one, 0.5).tolist()
    assert averages.of("one", one, 0.0) is one


def test_the_automatic_weight_follows_the_number_of_points() -> None:
    weights = [auto_weight(points) for points in range(2_000_000)[::97]]
    assert weights == sorted(weights) and 0.9999 < weights[-1] < 1
    assert {auto_weight(points) for points in range(51)} == {0.0}
    assert 0.2 < auto_weight(100) < 0.4 and 0.89 < auto_weight(1_000) < 0.91
    # A fiftieth of the points is averaged, so the line is late by less than a hundredth of them.
    assert all(w / (1 - w) <= n / 100 for n in range(50, 100_000, 331) for w in [auto_weight(n)])


def test_a_growing_run_is_rarely_averaged_again() -> None:
    assert len({auto_weight(points) for points in range(1_000, 2_000)}) == 5


@pytest.mark.parametrize(
    ("weight", "text"), [(0.9048, "0.9"), (0.99994, "0.99994"), (1 / 3, "0.3"), (0.0, "0")]
)
def test_a_weight_is_written_short(weight: float, text: str) -> None:
    assert weight_text(weight) == text
