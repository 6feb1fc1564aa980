"""Learning rates against closed formulas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.job import Scheduler, TrainingSettings
from tui_trainer.contracts.schedule import learning_rate_at, rise_text

SCHEDULERS: tuple[Scheduler, ...] = (
    "constant",
    "linear",
    "cosine",
    "polynomial",
    "wsd",
    "inverse-sqrt",
)  # those that never rise again


def settings(scheduler: Scheduler, warmup: int, peak: float = 1.0) -> TrainingSettings:
    return TrainingSettings(scheduler=scheduler, warmup_steps=warmup, learning_rate=peak)


def test_cosine_by_hand() -> None:
    rates = [learning_rate_at(step, settings("cosine", 4, 2.0), 12) for step in range(12)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[8] == pytest.approx(1.0)
    assert rates[11] == pytest.approx(1 + math.cos(math.pi * 7 / 8))


def test_linear_by_hand() -> None:
    rates = [learning_rate_at(step, settings("linear", 0), 4) for step in range(4)]
    assert rates == [1.0, 0.75, 0.5, 0.25]


@given(st.sampled_from(SCHEDULERS), st.integers(0, 50), st.integers(1, 400))
def test_every_step_learns_and_none_passes_the_peak(
    scheduler: Scheduler, warmup: int, total: int
) -> None:
    rates = [learning_rate_at(s, settings(scheduler, warmup, 3e-4), total) for s in range(total)]
    assert all(0 < rate <= 3e-4 * (1 + 1e-9) for rate in rates)
    after = rates[warmup:]
    assert all(a >= b for a, b in itertools.pairwise(after))


@given(
    st.sampled_from(SCHEDULERS),
    st.integers(0, 20),
    st.integers(0, 99),
    st.floats(1e-7, 1.0),
)
def test_a_set_rate_applies_at_once_and_keeps_the_shape(
    scheduler: Scheduler, warmup: int, at: int, rate: float
) -> None:
    plan = settings(scheduler, warmup)
    changed = [learning_rate_at(s, plan, 100, (at, rate)) for s in range(100)]
    plain = [learning_rate_at(s, plan, 100) for s in range(100)]
    assert changed[:at] == plain[:at]
    assert changed[at] == pytest.approx(rate)
    if at >= warmup:
        for step in range(at, 100):
            assert changed[step] / rate == pytest.approx(plain[step] / plain[at])
    else:
        assert all(value == pytest.approx(rate) for value in changed[at:warmup])


WARMUP, TOTAL, PEAK = 10, 110, 3e-4


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({"scheduler": "constant"}, lambda after: 1.0),
        ({"scheduler": "linear"}, lambda after: 1 - after / 100),
        ({"scheduler": "cosine"}, lambda after: math.cos(math.pi * after / 200) ** 2),
        (
            {"scheduler": "cosine-restarts", "scheduler_cycles": 4},
            lambda after: math.cos(math.pi * (after % 25) / 50) ** 2,
        ),
        (
            {"scheduler": "polynomial", "scheduler_power": 3.0},
            lambda after: ((100 - after) / 100) ** 3,
        ),
        (
            {"scheduler": "wsd", "decay_share": 0.25},
            lambda after: 1.0 if after <= 75 else (100 - after) / 25,
        ),
        ({"scheduler": "inverse-sqrt"}, lambda after: (10 / (10 + after)) ** 0.5),
    ],
    ids=lambda value: value["scheduler"] if isinstance(value, dict) else "",
)
def test_closed_formulas_after_a_linear_warmup(
    changes: dict[str, Any], share: Callable[[int], float]
) -> None:
    plan = TrainingSettings(warmup_steps=WARMUP, learning_rate=PEAK, **changes)
    rates = [learning_rate_at(step, plan, TOTAL) for step in range(TOTAL)]
    assert rates[:WARMUP] == pytest.approx([PEAK * (i + 1) / WARMUP for i in range(WARMUP)])
    assert rates[WARMUP:] == pytest.approx([PEAK * share(a) for a in range(100)], abs=1e-12)
    assert all(rate > 0 for rate in rates)


@pytest.mark.parametrize(
    ("rate", "present", "text"),
    [
        (0.05, 2e-4, "0.05 is 250 times the current rate, 2e-4"),
        (1e12, 2e-4, "1e12 is 5e15 times the current rate, 2e-4"),
        (2.1e-3, 2e-4, "2.1e-3 is 10.5 times the current rate, 2e-4"),
        (2e-3, 2e-4, None),
        (1e-5, 2e-4, None),
        (5.0, 0.0, None),
        (5.0, None, None),
        (5.0, math.nan, None),
    ],
)
def test_only_a_rise_of_more_than_ten_times_gives_a_warning(
    rate: float, present: float | None, text: str | None
) -> None:
    assert rise_text(rate, present) == text
