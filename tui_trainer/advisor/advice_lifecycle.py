"""The lifecycle of advice: raised when a condition appears, updated while it lasts, closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tui_trainer.advisor.state import AdvisorState, OpenAdvice
from tui_trainer.contracts.advice import (
    URGENCIES,
    Advice,
    AdviceKind,
    AdvisorSettings,
    Evidence,
    Urgency,
)

COLD_START_HINTS = (
    "warm up over about 5 % of the steps",
    "start again with the lower learning rate",
)


class Condition(NamedTuple):
    """What a rule found in the newest row."""

    kind: AdviceKind
    urgency: Urgency
    reason: str  # one sentence with the figures
    evidence: Evidence
    confidence: float  # 0..1
    factor: float | None = None  # proposed change of the learning rate
    target: float | None = None  # proposed learning rate; takes precedence over `factor`
    also_try: Sequence[str] = ()
    good_step: int | None = None  # last step before the onset, to roll back to
    keep_open_rows: int = 10  # rows until the advice closes once the condition is gone


def report(state: AdvisorState, condition: Condition, settings: AdvisorSettings) -> list[Advice]:
    """Raises the advice on a condition or updates the open one.

    Returns what is to be reported: an open advice is reported again only if it became more
    urgent or has lasted twice as long as at its last report (at least 50 steps).
    """
    if condition.kind in settings.muted or condition.kind in state.muted:
        return []
    known = state.open.get(condition.kind)
    if known is None:
        state.raised += 1
        advice = _advice(state, condition, f"{condition.kind}-{state.raised}")
        state.open[condition.kind] = OpenAdvice(advice, absent_rows=-condition.keep_open_rows)
        return [advice]
    known.absent_rows = -condition.keep_open_rows
    fresh = _advice(state, condition, known.advice.id)
    worse = URGENCIES.index(fresh.urgency) > URGENCIES.index(known.advice.urgency)
    lasted = known.advice.updated_step - known.advice.step
    if not worse and state.step - known.advice.updated_step < max(50, lasted):
        return []
    changes = {"status": "updated", "step": known.advice.step}
    if not worse:
        changes["urgency"] = known.advice.urgency
    known.advice = msgspec.structs.replace(fresh, **changes)
    return [known.advice]


def pass_row(state: AdvisorState, found: set[str], only: set[str] | None = None) -> list[Advice]:
    """Counts a row for every open advice whose kind is not in `found`, and closes the advice
    whose condition has been absent for long enough. With `only`, other kinds are ignored."""
    closed = []
    for kind in list(state.open):
        if kind in found or (only is not None and kind not in only):
            continue
        known = state.open[kind]
        known.absent_rows += 1
        if known.absent_rows > 0:
            closed.append(close(state, kind))
    return closed


def close(state: AdvisorState, kind: str) -> Advice:
    """Closes the open advice of a kind."""
    known = state.open.pop(kind)
    return msgspec.structs.replace(known.advice, status="closed", updated_step=state.step)


def _advice(state: AdvisorState, condition: Condition, id: str) -> Advice:
    rate, factor, suggested = state.rate, condition.factor, None
    if condition.target is not None and rate:
        factor, suggested = condition.target / rate, condition.target
    elif factor is not None and rate is not None:
        suggested = rate * factor
    return Advice(
        id=id,
        kind=condition.kind,
        urgency=condition.urgency,
        status="raised",
        step=state.step,
        updated_step=state.step,
        learning_rate=rate,
        suggested_lr=suggested,
        factor=factor,
        reason=condition.reason,
        evidence=condition.evidence,
        confidence=round(condition.confidence, 3),
        also_try=list(condition.also_try),
        good_step=condition.good_step,
    )
