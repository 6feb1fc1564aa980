"""How long a training may take where the user has set no time limit."""

from __future__ import annotations

from tui_trainer.contracts.runs.run import RunState
from tui_trainer.contracts.teaching.training import TeachingSettings

LEAST_SECONDS, MOST_SECONDS = 30 * 60.0, 4 * 3600.0
# Steps after which the speed is known, and how much longer than at that speed all may take.
FIRST_STEPS, MARGIN = 3, 1.5


def set_by_user(settings: TeachingSettings) -> float | None:
    """The time limit of the settings in seconds; None where it follows the speed."""
    return None if settings.time_limit_minutes is None else 60 * settings.time_limit_minutes


def by_speed(state: RunState) -> float | None:
    """The time limit in seconds that lets all planned steps finish at the speed of the first ones,
    within the bounds; None before these."""
    if state.step < FIRST_STEPS or state.total_steps is None:
        return None
    needed = MARGIN * state.total_steps * state.elapsed_seconds / state.step
    return 60 * round(min(max(needed, LEAST_SECONDS), MOST_SECONDS) / 60)


def before_speed(state: RunState | None) -> float:
    """The time limit in seconds while the speed is unknown: a base that is loaded has its first
    step done within the least one."""
    return MOST_SECONDS if state is not None and state.step else LEAST_SECONDS
