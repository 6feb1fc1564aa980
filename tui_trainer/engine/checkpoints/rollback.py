"""Going back to a good checkpoint while the run goes on, with another learning rate.

As with a resume from an older checkpoint, the steps after it are done again, and the later
checkpoints are set aside. What was left and why stands in the event.
"""

from __future__ import annotations

import time

import msgspec

from tui_trainer.contracts.schedule import RateChange, Scaling, learning_rate_at
from tui_trainer.engine.advice import observe
from tui_trainer.engine.advice.request_rollback import RISE_STEPS
from tui_trainer.engine.checkpoints import checkpoint
from tui_trainer.engine.checkpoints.disk_space import NoRoomError
from tui_trainer.engine.records import step_records
from tui_trainer.engine.state import learning_rate
from tui_trainer.engine.state.session import RollbackPoint, Session
from tui_trainer.store.runs import checkpoints


def go_back(session: Session) -> None:
    """Takes the run to where `session.going_back` says. The checkpoint there is saved anew with
    the new rate, so that a run killed after this goes on as if it had not been."""
    way, session.going_back = session.going_back, None
    if way is None:
        return
    step_records.settle(session)
    session.writer.wait()
    report, left = session.report, session.state
    muted = session.advisor.muted if session.advisor is not None else []
    _load(session, way)
    factor = _scale(session, way)
    for kind in muted:
        observe.mute(session, kind)
    checkpoints.set_aside_after(session.folder, session.state.step - 1)
    _save(session)
    state = session.state
    words = f"{way.words}: back from step {left.step} to step {state.step}"
    if factor != 1:
        words += f", learning rate x{factor:.3g} from there"
        words += f" to step {way.until}, then as planned" if way.until is not None else ""
    change = RateChange(state.learning_rate_override, state.scaling)
    detail = {"from_step": left.step, "factor": factor, "change": msgspec.to_builtins(change)}
    report.event("rollback", state.step, words, detail={**detail, **way.detail})
    epoch = session.plan.epoch(state.step)
    report.position(state.step, epoch, state.best_val_loss, state.best_step)
    report.state("training")


def _load(session: Session, way: RollbackPoint) -> None:
    """As a resume does; what the run did by itself stays counted."""
    left = session.state
    session.rates_to_replay.clear()  # what was set later on is left with the steps
    session.optimizer.zero_grad(set_to_none=True)
    session.optimizer.state.clear()  # a moment that the checkpoint lacks begins anew
    checkpoint.load(session, way.checkpoint)
    state = session.state
    state.changes, state.micro_batch = left.changes, left.micro_batch
    state.setbacks = left.setbacks
    if way.until is None:  # else what was tried before has nothing to do with it
        state.trial = None
    if way.trial is not None:
        before = learning_rate.multiplier(session)
        state.trial = msgspec.structs.replace(way.trial, step=state.step, multiplier=before)
    state.rolled_back = time.time()
    observe.begin(session)


def _scale(session: Session, way: RollbackPoint) -> float:
    """Multiplies the schedule so that it gives the wanted rate at the step that it is meant for;
    by how much. Where that rate was left behind with the steps, it need not be lowered."""
    state, settings = session.state, session.job.training
    if way.rate is None:
        return 1.0
    planned = learning_rate_at(
        way.at_step, settings, session.plan.total_steps, state.learning_rate_override, state.scaling
    )
    factor = way.rate / planned
    factor = max(factor, 1.0) if way.raises else min(factor, 1.0)
    if factor < 1:
        state.setbacks.append((way.good, _multiplier(session, way)))
    if way.until is not None:
        if factor < 1:
            lowered = _multiplier(session, way) * factor
            planned = 1.0 if state.scaling is None else state.scaling.after
            state.scaling = Scaling(way.until, RISE_STEPS, lowered, planned)
    elif factor != 1 or way.ramp > 1:
        after = _multiplier(session, way) * factor
        begun = learning_rate.multiplier(session) if way.raises else 0.1 * after
        state.scaling = Scaling(state.step, way.ramp, begun if way.ramp > 1 else after, after)
    return factor


def _multiplier(session: Session, way: RollbackPoint) -> float:
    """What the schedule was multiplied with at the step that the rate is meant for."""
    scaling = session.state.scaling
    return 1.0 if scaling is None else scaling.at(way.at_step)


def _save(session: Session) -> None:
    try:
        checkpoint.save(session)
    except NoRoomError as error:  # a run that is killed now goes on from an older one
        session.report.event("warning", session.state.step, str(error))
