"""Passes the engine's records to the advisor, logs its advice as events and applies it."""

from __future__ import annotations

import msgspec

from tui_trainer.advisor.advisor import Advisor
from tui_trainer.advisor.job_facts import facts_of, usual_rate
from tui_trainer.contracts.advice import Advice, AdvisorSettings
from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.engine.advice import apply
from tui_trainer.engine.advice.request_rollback import SPIKE
from tui_trainer.engine.records.hardware_samples import DelayedSamples
from tui_trainer.engine.state.session import Session
from tui_trainer.text import formats


def settings_of(session: Session) -> AdvisorSettings:
    """Return the advisor's settings, as they were when the run was created."""
    return session.advisor_settings


def begin(session: Session) -> None:
    """Create the advisor, with its state from the checkpoint. Never raises."""
    settings = settings_of(session)
    if not settings.enabled:
        return
    try:
        advisor = Advisor(
            settings, facts_of(session.job, session.plan.total_steps, width_rate(session))
        )
        if session.state.advisor is not None:
            advisor.restore(session.state.advisor)
        session.advisor = advisor
        session.samples = DelayedSamples(session.folder.hardware_file, session.state.sampled)
    except Exception as error:  # training continues without advice
        _switch_off(session, error)


def width_rate(session: Session) -> float | None:
    """Return the usual learning rate for a base of this width."""
    return usual_rate(getattr(session.model.config.get_text_config(), "hidden_size", None))


def remember(session: Session) -> None:
    """Copy the advisor's state into the state that a checkpoint saves."""
    if session.advisor is not None:
        session.state.advisor = session.advisor.state()
    if session.samples is not None:
        session.state.sampled = session.samples.last_time


def good_steps(session: Session) -> tuple[int, ...]:
    """Return the last step before each open problem that a rollback could solve, up to the last
    record that the advisor received."""
    usable = [a for a in session.open_advice if a.suggested_lr or a.kind == SPIKE]
    return tuple(a.good_step for a in usable if a.good_step is not None)


def observe(session: Session, record: TrainRecord | EvalRecord) -> None:
    """Pass a written record to the advisor, log its advice, apply it if allowed. Never raises."""
    if session.advisor is None:
        return
    try:
        _observe(session, session.advisor, record)
    except Exception as error:
        _switch_off(session, error)


def _observe(session: Session, advisor: Advisor, record: TrainRecord | EvalRecord) -> None:
    for sample in session.samples.until(record.time) if session.samples is not None else ():
        for advice in advisor.observe_hardware(sample):
            report_advice(session, advice, record.step)
    for advice in advisor.observe(record):
        report_advice(session, advice, record.step)
    if isinstance(record, TrainRecord):
        apply.act(session, record)


def report_advice(session: Session, advice: Advice, step: int) -> None:
    """Write the event of a new, changed or closed advice."""
    session.report.event(
        "advice",
        step,
        advice_text(advice),
        id=advice.id,
        detail=msgspec.to_builtins(advice),
    )


def advice_text(advice: Advice) -> str:
    """Return one line about an advice."""
    name = advice.kind.replace("_", " ")
    if advice.status == "closed":
        return f"{name} since step {formats.count(advice.step)} is over"
    text = f"{advice.urgency}: {name}: {advice.reason}"
    if advice.suggested_lr is not None and advice.learning_rate:
        factor = advice.suggested_lr / advice.learning_rate
        rate, times = formats.rate(advice.suggested_lr), formats.short_number(factor)
        text += f" Suggested learning rate {rate} (x{times})."
    return text


def mute(session: Session, kind: str) -> None:
    """Mute a kind of advice in this run."""
    if session.advisor is not None:
        for advice in session.advisor.mute(kind):
            report_advice(session, advice, session.state.step)


def _switch_off(session: Session, error: Exception) -> None:
    session.advisor, session.state.advisor = None, None
    session.report.event(
        "warning",
        session.state.step,
        f"the advisor failed and is off now; training continues: {type(error).__name__}: {error}",
    )
