"""Applies advice, on command or automatically: scales the rate or requests a rollback."""

from __future__ import annotations

from statistics import median

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.runs.metrics import TrainRecord
from tui_trainer.engine.advice import request_rollback, spike_rollback
from tui_trainer.engine.advice.request_rollback import MOST_SETBACKS, RISE_STEPS
from tui_trainer.engine.state import learning_rate
from tui_trainer.engine.state.session import RateTrial, Session, TrainerState
from tui_trainer.text import formats

FALL_STEPS = 5  # within which a rate is lowered; it is raised within `RISE_STEPS`
# An automatic change is judged after this many steps, by the median of this many losses.
TRIAL_STEPS, LEVEL_STEPS = 50, 16
# While advice of these kinds is open, a lowered rate is not raised again.
_WORSE_WITH_RATE = {"divergence", "gradient_explosion", "instability", "non_finite", "loss_spike"}
# Problems that damage the weights: the run is rolled back before the rate is changed.
_ROLLED_BACK = {"divergence", "warmup_too_short", "non_finite", "plateau"}


def apply(session: Session, advice: Advice, by: str) -> str | None:
    """Change the rate to the suggested one, within the bounds. Returns the refusal, or None."""
    state, settings = session.state, session.advisor_settings
    current = learning_rate.rate_of_next_step(session)
    if state.applied.get(advice.id) == advice.updated_step:
        return f"advice {advice.id} is already applied"
    if advice.suggested_lr is None or current <= 0:
        return f"advice {advice.id} suggests no learning rate"
    target = settings.bounded(advice.suggested_lr)
    factor, wanted = target / current, advice.factor or 1.0
    if factor > 1 and state.step < session.job.training.warmup_steps:
        return "the learning rate is still warming up and is raised only after the warmup"
    if (wanted < 1 and factor >= 1) or (wanted > 1 and factor <= 1):
        return (
            f"the learning rate of the next step, {formats.rate(current)}, is already past "
            f"{formats.rate(target)}"
        )
    state.applied[advice.id] = advice.updated_step
    steps = FALL_STEPS if factor < 1 else RISE_STEPS
    name = advice.kind.replace("_", " ")
    times = formats.short_number(factor)
    message = f"learning rate x{times}, to {formats.rate(target)} within {steps} steps, for {name}"
    detail = {"advice": advice.id, "by": by, "learning_rate": target}
    learning_rate.scale_by(session, factor, steps, message, detail)
    return None


def act(session: Session, record: TrainRecord) -> None:
    """Make automatic changes after a training record, as far as the settings allow them."""
    state, settings = session.state, session.advisor_settings
    if not (settings.auto_apply or settings.spike_rollback):
        return
    if record.loss is not None:
        state.recent = [*state.recent[1 - LEVEL_STEPS :], record.loss]
    if settings.auto_apply:
        _act_on_urgent(session, record)
    # Urgent advice comes first: it describes the same problem more exactly than a spike does.
    if settings.spike_rollback and not (settings.auto_apply and _most_urgent(session)):
        spike_rollback.act(session)


def _act_on_urgent(session: Session, record: TrainRecord) -> None:
    """Apply urgent advice automatically, and undo a change that made the loss worse."""
    state, settings = session.state, session.advisor_settings
    if state.trial is not None:
        _judge(session, state.trial)
    advice = _most_urgent(session)
    if advice is None or (state.trial is not None and advice.id == state.trial.advice):
        return
    tried = state.trial is not None
    if state.changes + (not tried) > settings.max_changes:
        return
    # A change that is being tried did not help; the rollback undoes it.
    damaged = advice.kind in _ROLLED_BACK or _was_raised_since(state, advice.good_step)
    damaged = damaged or (advice.urgency == "critical" and advice.good_step == 0)
    if damaged and _roll_back(session, advice, record):
        state.changes += not tried
        return
    if tried or advice.kind == "non_finite" or not state.recent:
        return
    before = learning_rate.multiplier(session)
    trial = _trial(state, advice, before)
    if apply(session, advice, "auto") is None:
        state.changes += 1
        state.trial = trial


def _most_urgent(session: Session) -> Advice | None:
    """Return the open advice to act on: of those of high or critical urgency that suggest a rate,
    first what damages the weights, then the newest. A divergence of medium urgency counts where a
    gradient explosion is open as well."""
    known = session.open_advice
    urgent = [a for a in known if a.urgency in ("high", "critical") and a.suggested_lr is not None]
    if any(a.kind == "gradient_explosion" for a in urgent):
        urgent += [a for a in known if a.kind == "divergence" and a.urgency == "medium"]
    return max(urgent, key=lambda a: (a.kind in _ROLLED_BACK, a.updated_step, a.step), default=None)


def _was_raised_since(state: TrainerState, step: int | None) -> bool:
    """Return whether the rate was raised after a step, which may be the cause of a problem."""
    if step is None:
        return False
    scaling, override = state.scaling, state.learning_rate_override
    # A rate that was lowered after a spike rises again in later steps, which does not count yet.
    started = scaling is not None and step <= scaling.step <= state.step
    scaled = scaling is not None and started and scaling.after > scaling.before
    return scaled or (override is not None and override[0] >= step)


def _trial(state: TrainerState, advice: Advice, before: float) -> RateTrial:
    level = median(state.recent)
    spread = median(abs(loss - level) for loss in state.recent)
    return RateTrial(
        advice=advice.id, step=state.step, multiplier=before, level=level, spread=spread
    )


def _roll_back(session: Session, advice: Advice, record: TrainRecord) -> bool:
    """Request a rollback to before the problem, or restore the rate where rollbacks did not help;
    return False where neither is possible."""
    state, good = session.state, advice.good_step
    if good is None or not state.recent:
        return False
    if advice.kind == "non_finite" and (state.skipped == 0 or record.loss is not None):
        return False  # a single step is skipped; with fp16, infinite gradients are normal
    before = request_rollback.setbacks_near(state, good)
    if len(before) >= MOST_SETBACKS and advice.kind != "plateau":
        _restore_rate(session, advice, before[0])
        return True
    trial = _trial(state, advice, 1.0) if advice.kind == "plateau" else None
    return request_rollback.request(session, advice, "auto", trial) is None


def _restore_rate(session: Session, advice: Advice, multiplier: float) -> None:
    """Restore the rate after the same problem at the same step with ever lower rates, and make no
    more automatic changes."""
    session.state.changes = session.advisor_settings.max_changes
    factor = multiplier / learning_rate.multiplier(session)
    message = (
        f"{advice.kind.replace('_', ' ')} again near step {formats.count(advice.good_step)}, even "
        "with a lower rate: look at the data there; change undone, learning rate "
        f"x{formats.short_number(factor)}"
    )
    detail = {"advice": advice.id, "by": "auto", "undone": True}
    learning_rate.scale_by(session, factor, RISE_STEPS, message, detail)


def _judge(session: Session, trial: RateTrial) -> None:
    """Keep a change at the end of its trial, or undo it where the loss got worse."""
    state = session.state
    if state.step < trial.step + RISE_STEPS + TRIAL_STEPS:
        return
    state.trial = None
    now, limit = median(state.recent), trial.level + max(3 * trial.spread, 0.02 * abs(trial.level))
    factor = trial.multiplier / learning_rate.multiplier(session)
    known = {a.kind for a in session.open_advice}
    if now <= limit or factor == 1 or (factor > 1 and known & _WORSE_WITH_RATE):
        return
    message = (
        f"loss {formats.number(now)} after the change for advice {trial.advice}, "
        f"{formats.number(trial.level)} before: change undone, learning rate "
        f"x{formats.short_number(factor)}"
    )
    detail = {"advice": trial.advice, "by": "auto", "undone": True}
    steps = FALL_STEPS if factor < 1 else RISE_STEPS
    learning_rate.scale_by(session, factor, steps, message, detail)
