"""Requests a rollback for an advice: to which checkpoint, and with which learning rate."""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.advice import Advice, AdviceKind
from tui_trainer.engine.state.session import RateTrial, RollbackPoint, Session, TrainerState
from tui_trainer.store.runs import checkpoints

SPIKE: AdviceKind = "loss_spike"
# Steps within which a rate rises.
RISE_STEPS = 20
LEAST_WARMUP = 10
# Most automatic rollbacks for a lower rate to about the same step (within so many steps).
MOST_SETBACKS, SAME_STEPS = 2, 32
# A spike suggests no rate, but with the same one the same steps would give the same bits: they
# are done with this share of it, and so are this many past the place where the run was.
SPIKE_FACTOR, SPIKE_PAST = 0.5, 8


def newest(session: Session, id: str | None) -> Advice | None:
    """The open advice that can be applied: the one named, else the newest."""
    known = [a for a in session.open_advice if a.suggested_lr is not None]
    fitting = [a for a in known if id in (None, a.id)]
    return max(fitting, key=lambda a: (a.updated_step, a.step), default=None)


def newest_with_rollback(session: Session, id: str | None) -> Advice | None:
    """The open advice to roll back for: as `newest`, but a spike where that names no step."""
    found, spike = newest(session, id), open_spike(session)
    if (found is None or found.good_step is None) and spike is not None and id in (None, spike.id):
        return spike
    return found


def open_spike(session: Session) -> Advice | None:
    """The open advice on a loss spike."""
    return next((advice for advice in session.open_advice if advice.kind == SPIKE), None)


def setbacks_near(state: TrainerState, good: int) -> list[float]:
    """What the schedule was multiplied with before each time that the run went back to about
    this step for a lower rate."""
    return [multiplier for at, multiplier in state.setbacks if abs(at - good) <= SAME_STEPS]


def request(
    session: Session, advice: Advice, by: str, trial: RateTrial | None = None
) -> str | None:
    """Request a rollback to the newest checkpoint from before an advice's problem, then training
    with the rate that it suggests, or after a spike with a lower one for some steps, within the
    advisor's bounds. Returns why that is impossible, or None."""
    good, rate, suggested = advice.good_step, advice.learning_rate, advice.suggested_lr
    is_spike, raises = advice.kind == SPIKE, advice.kind == "plateau"
    if is_spike and rate:
        suggested = SPIKE_FACTOR * rate
    if good is None or suggested is None or not rate:
        return f"advice {advice.id} names no step to roll back to"
    wanted = session.advisor_settings.bounded(suggested)
    if (wanted > rate) is not raises or wanted == rate:
        other = f"{SPIKE_FACTOR:g} times it" if is_spike else f"what advice {advice.id} suggests"
        return f"the advisor's bounds forbid changing the learning rate {rate:.3g} to {other}"
    session.writer.wait()
    found = checkpoints.newest_up_to(session.folder, good)
    if found is None:
        return f"there is no checkpoint from before step {good + 1:,}"
    at, ramp = _rise(session, advice, good)
    session.going_back = RollbackPoint(
        checkpoint=found,
        words=f"{advice.kind.replace('_', ' ')} at step {advice.step:,}",
        rate=wanted,
        at_step=at,
        ramp=ramp,
        raises=raises,
        good=good,
        until=session.state.step + SPIKE_PAST if is_spike else None,
        detail={"by": by, "learning_rate": wanted, "advice": msgspec.to_builtins(advice)},
        trial=trial,
    )
    return None


def _rise(session: Session, advice: Advice, good: int) -> tuple[int, int]:
    """The finished steps after which the rate is meant, and the steps in which it is reached."""
    training, at = session.job.training, advice.updated_step - 1
    if advice.kind == "warmup_too_short":
        return at, max(LEAST_WARMUP, session.plan.total_steps // 20)
    if advice.kind != "plateau":
        return at, 1
    # A rate to go back to was that step's; one for a new start is the schedule's highest.
    at = good - 1 if good > 0 else training.warmup_steps
    return at, RISE_STEPS if good >= training.warmup_steps else 1
