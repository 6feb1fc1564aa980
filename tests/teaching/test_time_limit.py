"""The time limit of a training that follows the speed of its first steps."""

from __future__ import annotations

import pytest

from tui_trainer.contracts.runs.run import RunState
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.teaching import time_limit


@pytest.mark.parametrize(
    ("step", "elapsed", "total", "minutes"),
    [
        (2, 900.0, 90, None),
        (3, 900.0, None, None),
        (3, 1.5, 90, 30),
        (3, 60.0, 90, 45),
        (10, 200.0, 90, 45),
        (3, 6000.0, 90, 240),
    ],
)
def test_all_planned_steps_have_time_at_the_speed_of_the_first_ones(
    step: int, elapsed: float, total: int | None, minutes: int | None
) -> None:
    state = RunState(state="training", step=step, total_steps=total, elapsed_seconds=elapsed)
    assert time_limit.by_speed(state) == (None if minutes is None else 60 * minutes)


def test_a_base_without_a_first_step_has_the_least_time() -> None:
    assert time_limit.before_speed(None) == 30 * 60
    assert time_limit.before_speed(RunState(state="preparing")) == 30 * 60
    assert time_limit.before_speed(RunState(state="training", step=1)) == 4 * 3600


def test_a_limit_of_the_user_is_exact() -> None:
    assert time_limit.set_by_user(TeachingSettings()) is None
    assert time_limit.set_by_user(TeachingSettings(time_limit_minutes=0.5)) == 30
