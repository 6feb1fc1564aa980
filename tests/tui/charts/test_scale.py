"""Limits, ticks and labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.text import formats
from tui_trainer.tui.charts import scale

finite = st.floats(allow_nan=False, allow_infinity=False)


def descent(count: int) -> np.typing.NDArray[np.float64]:
    steps = np.arange(count, dtype=np.float64)
    noise = np.random.default_rng(3).normal(0, 0.05, count)
    return 1 + 2 * np.exp(-steps / (count / 5)) + noise


def test_a_real_descent_is_shown_whole() -> None:
    loss = descent(2000)
    low, high = scale.robust_limits(loss) or (0.0, 0.0)
    assert low <= loss.min() + 0.01
    assert high >= loss.max() - 0.01


@pytest.mark.parametrize("at", [0, 1000, 1999])
def test_a_lone_spike_does_not_stretch_the_axis(at: int) -> None:
    loss = descent(2000)
    loss[at] = 500.0
    _, high = scale.robust_limits(loss) or (0.0, 0.0)
    assert 2.8 < high < 5.0


def test_a_spike_downwards_does_not_stretch_the_axis() -> None:
    loss = descent(2000)
    loss[700] = -400.0
    low, _ = scale.robust_limits(loss) or (0.0, 0.0)
    assert -1.0 < low < 1.0


def test_the_first_of_a_few_evaluations_may_be_left_out() -> None:
    assert scale.robust_limits(np.array([11.0, 3.5, 3.3, 3.2])) == (3.2, 3.5)
    assert scale.robust_limits(np.array([3.0, 2.1, 1.8, 1.6])) == (1.6, 3.0)


def test_noise_late_in_a_run_stays_inside() -> None:
    noisy = 2 + np.random.default_rng(5).normal(0, 0.3, 5000)
    low, high = scale.robust_limits(noisy) or (0.0, 0.0)
    assert ((noisy > low) & (noisy < high)).mean() > 0.97


@settings(deadline=None)
@given(st.lists(finite, min_size=1, max_size=200))
def test_limits_lie_within_the_data(data: list[float]) -> None:
    plot = scale.to_plot(np.array(data), log=False)
    limits = scale.robust_limits(plot)
    assert limits is not None
    ends = np.clip([plot.min(), plot.max()], -1e300, 1e300)
    assert ends[0] <= limits[0] <= limits[1] <= ends[1]


@settings(deadline=None)
@given(st.lists(st.floats(), max_size=50), st.booleans())
def test_an_axis_is_finite_and_not_empty_for_any_data(data: list[float], log: bool) -> None:
    plot = scale.to_plot(np.array(data, dtype=np.float64), log)
    axis = scale.make_axis(scale.robust_limits(plot), log)
    assert math.isfinite(axis.low) and math.isfinite(axis.high)
    assert axis.low < axis.high


@settings(deadline=None)
@given(finite, finite, st.booleans())
def test_an_asked_for_axis_is_not_empty(low: float, high: float, log: bool) -> None:
    axis = scale.exact_axis(low, high, log)
    assert axis.low < axis.high


@settings(deadline=None)
@given(finite, finite, st.integers(1, 20))
def test_ticks_are_ascending_round_and_inside(a: float, b: float, count: int) -> None:
    axis = scale.make_axis((max(min(a, b), -1e300), min(max(a, b), 1e300)))
    ticks = scale.ticks(axis, count)
    assert ticks == sorted(set(ticks))
    assert len(ticks) <= 2 * count + 3
    room = (axis.high / 2 - axis.low / 2) * 1e-6
    assert all(axis.low - room <= tick <= axis.high + room for tick in ticks)


@settings(deadline=None)
@given(st.floats(1e-9, 1e9), st.floats(1.01, 1e12), st.integers(2, 12))
def test_log_ticks_are_ascending_and_inside(low: float, ratio: float, count: int) -> None:
    axis = scale.make_axis((math.log10(low), math.log10(low * ratio)), log=True)
    ticks = scale.ticks(axis, count)
    assert ticks == sorted(set(ticks))
    assert all(axis.low - 1e-6 <= math.log10(tick) <= axis.high + 1e-6 for tick in ticks)


@settings(deadline=None)
@given(st.lists(finite, min_size=2, max_size=30))
def test_the_mapping_from_data_to_the_axis_is_monotone(data: list[float]) -> None:
    ordered = np.sort(np.clip(np.array(data), -1e300, 1e300))
    axis = scale.make_axis((float(ordered[0]), float(ordered[-1])))
    assert np.all(np.diff(axis.fraction(ordered)) >= 0)


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0.9, 3.1, 5, [1.0, 1.5, 2.0, 2.5, 3.0]),
        (0, 2400, 5, [0, 500, 1000, 1500, 2000]),
        (0, 2e-4, 3, [0, 1e-4, 2e-4]),
        (-1, 1, 3, [-1, 0, 1]),
    ],
)
def test_ticks_people_expect(low: float, high: float, count: int, expected: list[float]) -> None:
    assert scale.nice_ticks(low, high, count) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.284, "1.284"),
        (0.81, "0.8100"),
        (0.0123456, "0.01235"),
        (1420, "1,420"),
        (18402, "18,402"),
        (1.6e-4, "1.6e-4"),
        (2e-4, "2e-4"),
        (0, "0"),
        (-3.5, "-3.500"),
        (0.003, "0.003"),
        (1e6, "1,000,000"),
        (999_999, "999,999"),
        (123_456_789, "1.23e8"),
        (1e20, "1e20"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (1234.5678, "1,235"),
        (12.3456, "12.35"),
    ],
)
def test_numbers_as_printed(value: float | None, expected: str) -> None:
    assert formats.number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (724, "12:04"),
        (11_232, "3:07:12"),
        (183_780, "2 d 03:03"),
        (None, "–"),
        (math.inf, "–"),
        (-90, "-1:30"),
    ],
)
def test_durations_as_printed(seconds: float | None, expected: str) -> None:
    assert formats.duration(seconds) == expected


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        ([1.0, 1.5, 2.0], ["1.0", "1.5", "2.0"]),
        ([0, 500, 1000], ["0", "500", "1,000"]),
        ([0, 5000, 10_000], ["0", "5k", "10k"]),
        ([0.0, 1e-4, 2e-4], ["0", "1e-4", "2e-4"]),
        ([1e-4, 1.5e-4, 2e-4], ["1e-4", "1.5e-4", "2e-4"]),
        ([10_000, 10_001, 10_002], ["10,000", "10,001", "10,002"]),
        ([0.001, 0.01, 0.1], ["0.001", "0.01", "0.1"]),
        ([1e-5, 1e-2, 10.0], ["1e-5", "0.01", "10"]),
        ([], []),
    ],
)
def test_labels_of_one_axis(ticks: list[float], expected: list[str]) -> None:
    assert formats.tick_labels(ticks) == expected


@settings(deadline=None)
@given(finite, finite, st.integers(1, 12))
def test_labels_distinguish_ticks(a: float, b: float, count: int) -> None:
    low, high = min(a, b), max(a, b)
    axis = scale.make_axis((max(low, -1e300), min(high, 1e300)))
    labels = formats.tick_labels(scale.ticks(axis, count))
    assert len(set(labels)) == len(labels)


@settings(deadline=None)
@given(st.text())
def test_clean_text_fits_one_line_of_a_terminal(raw: str) -> None:
    cleaned = formats.clean(raw)
    assert len(cleaned) == len(raw)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in cleaned)
    assert "\u202e" not in cleaned
