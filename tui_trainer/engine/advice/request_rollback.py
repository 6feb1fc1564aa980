"""Requests a rollback for an advice: to which checkpoint, and with which learning rate."""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.advice import Advice, AdviceKind
from tui_trainer.engine.state.session import RateTrial, RollbackPoint, Session, TrainerState
from tui_trainer.store.runs import checkpoints
from tui_trainer.text import formats

SPIKE: AdviceKind = "loss_spike"
RISE_STEPS = 20  # within which a rate is raised
LEAST_WARMUP = 10  # steps
# Most automatic rollbacks for a lower rate to about the same step (within `SAME_STEPS`).
MOST_SETBACKS, SAME_STEPS = 2, 32
# Advice on a spike suggests no rate, but with the same rate the same steps would give the same
# result: they are trained with this share of it, and so are this many further steps.
SPIKE_FACTOR, SPIKE_PAST = 0.5, 8


def newest(session: Session, id: str | None) -> Advice | None:
    """Return the open advice that can be applied: the one with this id, else the newest."""
    known = [a for a in session.open_advice if a.suggested_lr is not None]
    fitting = [a for a in known if id in (None, a.id)]
    return max(fitting, key=lambda a: (a.updated_step, a.step), default=None)


def newest_with_rollback(session: Session, id: str | None) -> Advice | None:
    """Return the open advice to roll back for: as `newest`, but a spike where that has no step."""
    found, spike = newest(session, id), open_spike(session)
    if (found is None or found.good_step is None) and spike is not None and id in (None, spike.id):
        return spike
    return found


def open_spike(session: Session) -> Advice | None:
    """Return the open advice on a loss spike; None where there is none."""
    return next((advice for advice in session.open_advice if advice.kind == SPIKE), None)


def setbacks_near(state: TrainerState, good: int) -> list[float]:
    """Return the factor on the schedule before each automatic rollback to about this step for a
    lower rate."""
    return [multiplier for step, multiplier in state.setbacks if abs(step - good) <= SAME_STEPS]


def request(
    session: Session, advice: Advice, by: str, trial: RateTrial | None = None
) -> str | None:
    """Request a rollback to the newest checkpoint before an advice's problem. Training continues
    with the suggested rate, or after a spike with a lower one for some steps, within the advisor's
    bounds. Returns why that is impossible, or None."""
    good, rate, suggested = advice.good_step, advice.learning_rate, advice.suggested_lr
    is_spike, raises = advice.kind == SPIKE, advice.kind == "plateau"
    if is_spike and rate:
        suggested = SPIKE_FACTOR * rate
    if good is None or suggested is None or not rate:
        return f"advice {advice.id} names no step to roll back to"
    wanted = session.advisor_settings.bounded(suggested)
    if (wanted > rate) is not raises or wanted == rate:
        other = f"{SPIKE_FACTOR:g} times that" if is_spike else f"what advice {advice.id} suggests"
        current = formats.rate(rate)
        return f"the advisor's bounds forbid changing the learning rate {current} to {other}"
    session.writer.wait()
    found = checkpoints.newest_up_to(session.folder, good)
    if found is None:
        return f"there is no checkpoint from before step {formats.count(good + 1)}"
    at_step, ramp = _target_step(session, advice, good)
    session.pending_rollback = RollbackPoint(
        checkpoint=found,
        reason=f"{advice.kind.replace('_', ' ')} at step {formats.count(advice.step)}",
        rate=wanted,
        at_step=at_step,
        ramp=ramp,
        raises=raises,
        good=good,
        until=session.state.step + SPIKE_PAST if is_spike else None,
        detail={"by": by, "learning_rate": wanted, "advice": msgspec.to_builtins(advice)},
        trial=trial,
    )
    return None


def _target_step(session: Session, advice: Advice, good: int) -> tuple[int, int]:
    """Return the finished steps for which the rate is requested, and the steps to reach it in."""
    training, step = session.job.training, advice.updated_step - 1
    if advice.kind == "warmup_too_short":
        return step, max(LEAST_WARMUP, session.plan.total_steps // 20)
    if advice.kind != "plateau":
        return step, 1
    # The rate is that of the good step; for a restart from step 0 it is the schedule's peak.
    step = good - 1 if good > 0 else training.warmup_steps
    return step, RISE_STEPS if good >= training.warmup_steps else 1
