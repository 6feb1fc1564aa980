"""Records of finished steps, written and passed to the advisor several at a time.

Writing one record costs mostly the calls, with caches cold after a step: so the records of quick
steps are collected for a short time and written together.
"""

from __future__ import annotations

import math
import time

import msgspec

from tui_trainer.contracts.runs.metrics import TrainRecord, finite_or_none
from tui_trainer.engine.advice import observe
from tui_trainer.engine.state.session import Finished, Session, StepResult

_MOST_WAITING = 8  # records
# A record is written at most this late, or with that of the step after it.
_MOST_WAIT_SECONDS = 0.2


def record_step(session: Session, outcome: StepResult, rate: float, seconds: float) -> None:
    """Record a finished step, which took `seconds` with learning rate `rate`. Its record is written
    soon, or at once where the step was slow or unhealthy, or the advisor may act on it."""
    waiting, now = session.unwritten_steps, time.time()
    waiting.append(Finished(session.state.step, outcome, rate, seconds, now))
    settings = session.advisor_settings
    if (
        outcome.healthy
        and len(waiting) < _MOST_WAITING
        and seconds < _MOST_WAIT_SECONDS
        and now - waiting[0].time < _MOST_WAIT_SECONDS
        and not (settings.auto_apply or settings.spike_rollback)
    ):
        return
    flush(session)


def flush(session: Session) -> None:
    """Write the waiting records and pass them to the advisor. To be called before anything else
    about the run is written."""
    if not session.unwritten_steps:
        return
    waiting, session.unwritten_steps = session.unwritten_steps, []
    records = [step_record(session, done) for done in waiting]
    session.state.tokens_seen += sum(record.tokens for record in records)
    session.report.train_steps(records, evaluations_left(session))
    for record in records:
        observe.observe(session, record)


def step_record(session: Session, done: Finished) -> TrainRecord:
    """Return a step's record for `metrics.jsonl`."""
    outcome = done.outcome
    return TrainRecord(
        step=done.step,
        epoch=session.plan.epoch(done.step),
        loss=finite_or_none(outcome.loss),
        accuracy=finite_or_none(outcome.accuracy),
        learning_rate=done.rate,
        gradient_norm=finite_or_none(outcome.norm),
        step_time_ms=round(done.seconds * 1000, 3),
        tokens=tokens_of(outcome),
        examples=sum(len(group) for group in outcome.passes),
        time=done.time,
        nonfinite=outcome.nonfinite or msgspec.UNSET,
    )


def tokens_of(outcome: StepResult) -> int:
    """Return the number of a step's tokens, without padding."""
    return sum(len(example.input_ids) for group in outcome.passes for example in group)


def evaluations_left(session: Session) -> int:
    """Return the number of remaining evaluations."""
    every, total = session.job.training.eval_every, session.plan.total_steps
    if not session.dataset.validation:
        return 0
    if every == 0:
        return 1
    return math.ceil(total / every) - session.state.step // every
