"""The rows of finished steps: written, and shown to the advisor, a few at a time.

After a step the processor's caches hold other things, and to be called at all is what costs. So
quick steps wait for each other, but never long.
"""

from __future__ import annotations

import math
import time

import msgspec

from tui_trainer.contracts.metrics import TrainRecord, finite_or_none
from tui_trainer.engine.advice import observe
from tui_trainer.engine.state.session import Finished, Session, StepResult

# So many steps wait at most, and a row is at most so late, or as late as the step after it.
_TOGETHER, _LATE_SECONDS = 8, 0.2


def finished(session: Session, outcome: StepResult, rate: float, seconds: float) -> None:
    """A step is done and counted: its row is written soon; at once where it was a slow one or
    an unhealthy one, or where something may be done about it."""
    waiting, now = session.unsettled, time.time()
    waiting.append(Finished(session.state.step, outcome, rate, seconds, now))
    settings = session.advisor_settings
    if (
        outcome.healthy
        and len(waiting) < _TOGETHER
        and seconds < _LATE_SECONDS
        and now - waiting[0].time < _LATE_SECONDS
        and not (settings.auto_apply or settings.spike_rollback)
    ):
        return
    settle(session)


def settle(session: Session) -> None:
    """Writes the rows of the steps that wait, and shows them to the advisor. To be called before
    anything else is told about the run."""
    if not session.unsettled:
        return
    waiting, session.unsettled = session.unsettled, []
    records = [step_record(session, done) for done in waiting]
    session.state.tokens_seen += sum(record.tokens for record in records)
    session.report.train_steps(records, evaluations_left(session))
    for record in records:
        observe.observe(session, record)


def step_record(session: Session, done: Finished) -> TrainRecord:
    """A step's line of `metrics.jsonl`."""
    outcome = done.outcome
    return TrainRecord(
        step=done.step,
        epoch=session.plan.epoch(done.step),
        loss=finite_or_none(outcome.loss),
        learning_rate=done.rate,
        gradient_norm=finite_or_none(outcome.norm),
        step_time_ms=round(done.seconds * 1000, 3),
        tokens=tokens_of(outcome),
        examples=sum(len(group) for group in outcome.passes),
        time=done.time,
        nonfinite=outcome.nonfinite or msgspec.UNSET,
    )


def tokens_of(outcome: StepResult) -> int:
    """A step's tokens, padding not counted."""
    return sum(len(example.input_ids) for group in outcome.passes for example in group)


def evaluations_left(session: Session) -> int:
    """How many evaluations are still to come."""
    every, total = session.job.training.eval_every, session.plan.total_steps
    if not session.dataset.validation:
        return 0
    if every == 0:
        return 1
    return math.ceil(total / every) - session.state.step // every
