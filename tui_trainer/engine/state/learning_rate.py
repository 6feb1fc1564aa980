"""The learning rate of this run: its schedule, and changes by the user or the advisor.

A rate that the user sets replaces those set at later steps before the run was resumed from here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tui_trainer.contracts.schedule import RateChange, Scaling, learning_rate_at
from tui_trainer.engine.state.session import Session
from tui_trainer.text import formats


def rate_of_next_step(session: Session) -> float:
    """Return the learning rate of the next optimizer step."""
    state = session.state
    return learning_rate_at(
        state.step,
        session.job.training,
        session.plan.total_steps,
        state.learning_rate_override,
        state.scaling,
    )


def multiplier(session: Session) -> float:
    """Return the factor on the schedule in the next step."""
    scaling = session.state.scaling
    return 1.0 if scaling is None else scaling.at(session.state.step)


def set_rate(session: Session, rate: float) -> None:
    """Set the rate of the next step; the schedule decays from there."""
    session.state.learning_rate_override = (session.state.step, rate)
    session.state.scaling = None
    session.rates_to_replay.clear()
    report_change(session, f"learning rate set to {formats.rate(rate)}", {"learning_rate": rate})


def set_peak(session: Session, peak: float) -> None:
    """Use the schedule of another peak from now on, as if the job had set it."""
    state = session.state
    factor = peak / session.job.training.learning_rate
    state.learning_rate_override = None
    state.scaling = Scaling(state.step, 1, factor, factor)
    session.rates_to_replay.clear()
    message = f"peak of the learning rate set to {formats.rate(peak)}"
    report_change(
        session, message, {"learning_rate": rate_of_next_step(session), **_change(session)}
    )


def scale_by(
    session: Session, factor: float, steps: int, message: str, detail: dict[str, Any]
) -> None:
    """Scale the rate within `steps` steps to `factor` times what the schedule gives."""
    before = multiplier(session)
    if detail.get("by") != "auto":
        session.rates_to_replay.clear()
    session.state.scaling = Scaling(session.state.step, steps, before, before * factor)
    report_change(session, message, {**_change(session), **detail})


def repeat_change(session: Session, change: float | RateChange) -> None:
    """Repeat a change that was made at this step before the run was killed."""
    state = session.state
    if isinstance(change, RateChange):
        state.learning_rate_override, state.scaling = change.override, change.scaling
    else:
        state.learning_rate_override, state.scaling = (state.step, change), None


def report_change(session: Session, message: str, detail: dict[str, Any]) -> None:
    """Write the event, from which a resume repeats the change."""
    session.report.event("learning_rate", session.state.step, message, detail=detail)


def _change(session: Session) -> dict[str, Any]:
    state = session.state
    change = RateChange(state.learning_rate_override, state.scaling)
    return {"change": msgspec.to_builtins(change)}
