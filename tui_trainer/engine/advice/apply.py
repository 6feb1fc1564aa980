"""Applies advice, on command or automatically: scales the rate or requests a rollback."""

from __future__ import annotations

from statistics import median

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.metrics import TrainRecord
from tui_trainer.engine.advice import request_rollback, spike_rollback
from tui_trainer.engine.advice.request_rollback import MOST_SETBACKS, RISE_STEPS
from tui_trainer.engine.state import learning_rate
from tui_trainer.engine.state.session import RateTrial, Session, TrainerState

# Within so many steps a rate falls; it rises within `RISE_STEPS`.
FALL_STEPS = 5
# A change made by itself is judged over so many steps after it, by the median of so many losses.
TRIAL_STEPS, LEVEL_STEPS = 50, 16
# While one of these is open, a rate that was lowered is not raised again.
_WORSE_WITH_RATE = {"divergence", "gradient_explosion", "instability", "non_finite", "loss_spike"}
# What spoilt the weights, or the steps since: a change made by itself begins before it.
_ROLLED_BACK = {"divergence", "warmup_too_short", "non_finite", "plateau"}


def apply(session: Session, advice: Advice, by: str) -> str | None:
    """Takes the rate to what the advice suggests, within bounds; why not, in words, or None."""
    state, settings = session.state, session.advisor_settings
    present = learning_rate.rate_of_next_step(session)
    if state.applied.get(advice.id) == advice.updated_step:
        return f"advice {advice.id} is already applied"
    if advice.suggested_lr is None or present <= 0:
        return f"advice {advice.id} suggests no learning rate"
    target = settings.bounded(advice.suggested_lr)
    factor, wanted = target / present, advice.factor or 1.0
    if factor > 1 and state.step < session.job.training.warmup_steps:
        return "the learning rate is still warming up and is raised only after the warmup"
    if (wanted < 1 and factor >= 1) or (wanted > 1 and factor <= 1):
        return f"the learning rate of the next step, {present:.3g}, is already past {target:.3g}"
    state.applied[advice.id] = advice.updated_step
    steps = FALL_STEPS if factor < 1 else RISE_STEPS
    name = advice.kind.replace("_", " ")
    words = f"learning rate x{factor:.3g}, to {target:.3g} within {steps} steps, for {name}"
    detail = {"advice": advice.id, "by": by, "learning_rate": target}
    learning_rate.scale_by(session, factor, steps, words, detail)
    return None


def act(session: Session, record: TrainRecord) -> None:
    """What the settings have done by itself after a training row."""
    state, settings = session.state, session.advisor_settings
    if not (settings.auto_apply or settings.spike_rollback):
        return
    if record.loss is not None:
        state.recent = [*state.recent[1 - LEVEL_STEPS :], record.loss]
    if settings.auto_apply:
        _act_on_urgent(session, record)
    # What is urgent and acted on goes first: it is the same trouble, and better known.
    if settings.spike_rollback and not (settings.auto_apply and _most_urgent(session)):
        spike_rollback.act(session)


def _act_on_urgent(session: Session, record: TrainRecord) -> None:
    """Applies urgent advice by itself, and takes back what made things worse."""
    state, settings = session.state, session.advisor_settings
    if state.trial is not None:
        _judge(session, state.trial)
    advice = _most_urgent(session)
    if advice is None or (state.trial is not None and advice.id == state.trial.advice):
        return
    tried = state.trial is not None
    if state.changes + (not tried) > settings.max_changes:
        return
    # What was tried before did not help, and goes with the steps that are left.
    spoilt = advice.kind in _ROLLED_BACK or _was_raised_since(state, advice.good_step)
    spoilt = spoilt or (advice.urgency == "critical" and advice.good_step == 0)
    if spoilt and _roll_back(session, advice, record):
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
    """Of the open advice of high or critical urgency that suggests a rate: first what spoils the
    weights, then the newest. A divergence counts with a gradient that explodes on top of it."""
    known = session.open_advice
    urgent = [a for a in known if a.urgency in ("high", "critical") and a.suggested_lr is not None]
    if any(a.kind == "gradient_explosion" for a in urgent):
        urgent += [a for a in known if a.kind == "divergence" and a.urgency == "medium"]
    return max(urgent, key=lambda a: (a.kind in _ROLLED_BACK, a.updated_step, a.step), default=None)


def _was_raised_since(state: TrainerState, step: int | None) -> bool:
    """Whether somebody raised the rate after a step, so that what is wrong began with that."""
    if step is None:
        return False
    scaling, override = state.scaling, state.learning_rate_override
    # A rate that was halved for a spike rises again later, which is none yet.
    begun = scaling is not None and step <= scaling.step <= state.step
    scaled = scaling is not None and begun and scaling.after > scaling.before
    return scaled or (override is not None and override[0] >= step)


def _trial(state: TrainerState, advice: Advice, before: float) -> RateTrial:
    level = median(state.recent)
    spread = median(abs(loss - level) for loss in state.recent)
    return RateTrial(
        advice=advice.id, step=state.step, multiplier=before, level=level, spread=spread
    )


def _roll_back(session: Session, advice: Advice, record: TrainRecord) -> bool:
    """Asks the loop to go back to before the trouble, or gives the rate back where that was
    tried; False where neither can be done."""
    state, good = session.state, advice.good_step
    if good is None or not state.recent:
        return False
    if advice.kind == "non_finite" and (state.skipped == 0 or record.loss is not None):
        return False  # one such step is skipped; with fp16, gradients alone are often infinite
    before = request_rollback.setbacks_near(state, good)
    if len(before) >= MOST_SETBACKS and advice.kind != "plateau":
        _rate_is_not_it(session, advice, before[0])
        return True
    trial = _trial(state, advice, 1.0) if advice.kind == "plateau" else None
    return request_rollback.request(session, advice, "auto", trial) is None


def _rate_is_not_it(session: Session, advice: Advice, multiplier: float) -> None:
    """The same trouble at the same place with ever lower rates: the rate is given back, and left
    alone from now on."""
    session.state.changes = session.advisor_settings.max_changes
    factor = multiplier / learning_rate.multiplier(session)
    words = (
        f"{advice.kind.replace('_', ' ')} again near step {advice.good_step:,}, even with a lower "
        f"rate: look at the data there; change undone, learning rate x{factor:.3g}"
    )
    detail = {"advice": advice.id, "by": "auto", "undone": True}
    learning_rate.scale_by(session, factor, RISE_STEPS, words, detail)


def _judge(session: Session, trial: RateTrial) -> None:
    """At the end of its trial a change is kept, or undone where the loss got worse."""
    state = session.state
    if state.step < trial.step + RISE_STEPS + TRIAL_STEPS:
        return
    state.trial = None
    now, limit = median(state.recent), trial.level + max(3 * trial.spread, 0.02 * abs(trial.level))
    factor = trial.multiplier / learning_rate.multiplier(session)
    known = {a.kind for a in session.open_advice}
    if now <= limit or factor == 1 or (factor > 1 and known & _WORSE_WITH_RATE):
        return
    words = (
        f"loss {now:.4g} after the change for advice {trial.advice}, {trial.level:.4g} before: "
        f"change undone, learning rate x{factor:.3g}"
    )
    detail = {"advice": trial.advice, "by": "auto", "undone": True}
    learning_rate.scale_by(session, factor, FALL_STEPS if factor < 1 else RISE_STEPS, words, detail)
