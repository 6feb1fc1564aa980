"""The learning rate of this run: its schedule, and what people or the advisor made of it.

A rate that a person sets wins over those that were set at later steps before the run was resumed
here: these are not set again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tui_trainer.contracts.schedule import RateChange, Scaling, learning_rate_at
from tui_trainer.engine.state.session import Session


def rate_of_next_step(session: Session) -> float:
    """The rate of the optimizer step that comes next."""
    state = session.state
    return learning_rate_at(
        state.step,
        session.job.training,
        session.plan.total_steps,
        state.learning_rate_override,
        state.scaling,
    )


def multiplier(session: Session) -> float:
    """What the schedule is multiplied with in the next step."""
    scaling = session.state.scaling
    return 1.0 if scaling is None else scaling.at(session.state.step)


def set_rate(session: Session, rate: float) -> None:
    """The next step has this rate, and the schedule falls on from there."""
    session.state.learning_rate_override = (session.state.step, rate)
    session.state.scaling = None
    session.rates_to_replay.clear()
    say(session, f"learning rate set to {rate:.4g}", {"learning_rate": rate})


def set_peak(session: Session, peak: float) -> None:
    """From now on the schedule is that of another peak, as if the job had said so."""
    state = session.state
    factor = peak / session.job.training.learning_rate
    state.learning_rate_override = None
    state.scaling = Scaling(state.step, 1, factor, factor)
    session.rates_to_replay.clear()
    words = f"peak of the learning rate set to {peak:.4g}"
    say(session, words, {"learning_rate": rate_of_next_step(session), **_change(session)})


def scale_by(
    session: Session, factor: float, steps: int, words: str, detail: dict[str, Any]
) -> None:
    """Within `steps` steps takes the rate to `factor` times what the schedule would give."""
    before = multiplier(session)
    if detail.get("by") != "auto":
        session.rates_to_replay.clear()
    session.state.scaling = Scaling(session.state.step, steps, before, before * factor)
    say(session, words, {**_change(session), **detail})


def again(session: Session, change: float | RateChange) -> None:
    """What was done at this step before the run was killed."""
    state = session.state
    if isinstance(change, RateChange):
        state.learning_rate_override, state.scaling = change.override, change.scaling
    else:
        state.learning_rate_override, state.scaling = (state.step, change), None


def say(session: Session, words: str, detail: dict[str, Any]) -> None:
    """The event; who reads it can do the change again."""
    session.report.event("learning_rate", session.state.step, words, detail=detail)


def _change(session: Session) -> dict[str, Any]:
    state = session.state
    change = RateChange(state.learning_rate_override, state.scaling)
    return {"change": msgspec.to_builtins(change)}
