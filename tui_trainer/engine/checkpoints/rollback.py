"""Rolls a running training back to a good checkpoint, with another learning rate.

As with a resume from an older checkpoint, the steps after it are trained again, and the later
checkpoints are set aside. The event has the reason and the step before.
"""

from __future__ import annotations

import time

import msgspec

from tui_trainer.contracts.schedule import RateChange, Scaling, learning_rate_at
from tui_trainer.engine.advice import observe
from tui_trainer.engine.advice.request_rollback import RISE_STEPS
from tui_trainer.engine.checkpoints import best, checkpoint
from tui_trainer.engine.checkpoints.disk_space import NoRoomError
from tui_trainer.engine.records import step_records
from tui_trainer.engine.state import learning_rate
from tui_trainer.engine.state.session import RollbackPoint, Session
from tui_trainer.store.runs import checkpoints
from tui_trainer.text.formats import count, short_number


def roll_back(session: Session) -> None:
    """Do the rollback that `session.pending_rollback` requests, if any. The checkpoint is saved
    again with the new rate, so that a run resumed after a kill gives the same result."""
    point, session.pending_rollback = session.pending_rollback, None
    if point is None:
        return
    step_records.flush(session)
    session.writer.wait()
    report, before = session.report, session.state
    muted = session.advisor.muted if session.advisor is not None else []
    _load(session, point)
    factor = _scale(session, point)
    for kind in muted:
        observe.mute(session, kind)
    checkpoints.supersede_after(session.folder, session.state.step - 1)
    best.settle(session)
    _save(session)
    state = session.state
    message = (
        f"{point.reason}: rolled back from step {count(before.step)} to step {count(state.step)}"
    )
    if factor != 1:
        message += f", learning rate x{short_number(factor)} from there"
        if point.until is not None:
            message += f" to step {count(point.until)}, then as scheduled"
    if before.best is not None and state.best != before.best:
        now = "no longer there" if state.best is None else f"now step {count(state.best.step)}"
        message += f"; the best evaluation is {now}"
    change = RateChange(state.learning_rate_override, state.scaling)
    detail = {"from_step": before.step, "factor": factor, "change": msgspec.to_builtins(change)}
    report.event("rollback", state.step, message, detail={**detail, **point.detail})
    epoch = session.plan.epoch(state.step)
    report.set_position(state.step, epoch)
    report.set_state("training")


def _load(session: Session, point: RollbackPoint) -> None:
    """Load the checkpoint as a resume does; the number of automatic changes stays."""
    former = session.state
    session.rates_to_replay.clear()  # later changes are undone with their steps
    session.optimizer.zero_grad(set_to_none=True)
    session.optimizer.state.clear()  # removes keys that are not in the checkpoint
    checkpoint.load(session, point.checkpoint)
    state = session.state
    state.changes, state.micro_batch = former.changes, former.micro_batch
    state.setbacks = former.setbacks
    if point.until is None:  # else an earlier trial is unrelated
        state.trial = None
    if point.trial is not None:
        before = learning_rate.multiplier(session)
        state.trial = msgspec.structs.replace(point.trial, step=state.step, multiplier=before)
    state.rolled_back = time.time()
    observe.begin(session)


def _scale(session: Session, point: RollbackPoint) -> float:
    """Scale the schedule so that it gives the requested rate at `point.at_step`; return the factor.
    Where undoing the steps restores a rate that is low enough, it is not changed."""
    state, settings = session.state, session.job.training
    if point.rate is None:
        return 1.0
    planned = learning_rate_at(
        point.at_step,
        settings,
        session.plan.total_steps,
        state.learning_rate_override,
        state.scaling,
    )
    factor = point.rate / planned
    factor = max(factor, 1.0) if point.raises else min(factor, 1.0)
    if factor < 1:
        state.setbacks.append((point.good, _multiplier(session, point)))
    if point.until is not None:
        if factor < 1:
            lowered = _multiplier(session, point) * factor
            planned = 1.0 if state.scaling is None else state.scaling.after
            state.scaling = Scaling(point.until, RISE_STEPS, lowered, planned)
    elif factor != 1 or point.ramp > 1:
        after = _multiplier(session, point) * factor
        first = learning_rate.multiplier(session) if point.raises else 0.1 * after
        state.scaling = Scaling(state.step, point.ramp, first if point.ramp > 1 else after, after)
    return factor


def _multiplier(session: Session, point: RollbackPoint) -> float:
    """Return the factor on the schedule at the step for which the rate is requested."""
    scaling = session.state.scaling
    return 1.0 if scaling is None else scaling.at(point.at_step)


def _save(session: Session) -> None:
    try:
        checkpoint.save(session)
    except NoRoomError as error:  # a run that is killed now resumes from an older one
        session.report.event("warning", session.state.step, str(error))
