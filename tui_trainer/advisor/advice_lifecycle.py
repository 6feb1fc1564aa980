"""From findings to advice with an identity: raised once, updated while it lasts, closed."""

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

COLD_START = ("warm up over about 5 % of the steps", "start again with the lower learning rate")


class Condition(NamedTuple):
    """A condition that holds now. `factor` is for the learning rate, `target` a rate to go to
    instead; `stays` the rows for which the advice stays open after it was last found."""

    kind: AdviceKind
    urgency: Urgency
    reason: str
    evidence: Evidence
    confidence: float
    factor: float | None = None
    target: float | None = None
    also_try: Sequence[str] = ()
    good_step: int | None = None
    stays: int = 10


def report(memory: AdvisorState, finding: Condition, settings: AdvisorSettings) -> list[Advice]:
    """Opens the finding's advice, or brings it up to date: said anew where it became more
    urgent, and otherwise each time that it has lasted twice as long."""
    if finding.kind in settings.muted or finding.kind in memory.muted:
        return []
    known = memory.open.get(finding.kind)
    if known is None:
        memory.raised += 1
        advice = _advice(memory, finding, f"{finding.kind}-{memory.raised}")
        memory.open[finding.kind] = OpenAdvice(advice, quiet=-finding.stays, said_at=memory.rows)
        return [advice]
    known.quiet = -finding.stays
    fresh = _advice(memory, finding, known.advice.id)
    worse = URGENCIES.index(fresh.urgency) > URGENCIES.index(known.advice.urgency)
    lasted = known.advice.updated_step - known.advice.step
    if not worse and memory.step - known.advice.updated_step < max(50, lasted):
        return []
    changes = {"status": "updated", "step": known.advice.step}
    if not worse:
        changes["urgency"] = known.advice.urgency
    known.advice = msgspec.structs.replace(fresh, **changes)
    return [known.advice]


def pass_row(memory: AdvisorState, found: set[str], only: set[str] | None = None) -> list[Advice]:
    """Counts a row in which the open advice not in `found` was not seen, and closes what has
    been quiet long enough. `only` bounds the kinds that this row can speak of."""
    closed = []
    for kind in list(memory.open):
        if kind in found or (only is not None and kind not in only):
            continue
        known = memory.open[kind]
        known.quiet += 1
        if known.quiet > 0:
            closed.append(close(memory, kind))
    return closed


def close(memory: AdvisorState, kind: str) -> Advice:
    """Closes an open advice now."""
    known = memory.open.pop(kind)
    return msgspec.structs.replace(known.advice, status="closed", updated_step=memory.step)


def _advice(memory: AdvisorState, finding: Condition, id: str) -> Advice:
    rate, factor, suggested = memory.rate, finding.factor, None
    if finding.target is not None and rate:
        factor, suggested = finding.target / rate, finding.target
    elif factor is not None and rate is not None:
        suggested = rate * factor
    return Advice(
        id=id,
        kind=finding.kind,
        urgency=finding.urgency,
        status="raised",
        step=memory.step,
        updated_step=memory.step,
        learning_rate=rate,
        suggested_lr=suggested,
        factor=factor,
        reason=finding.reason,
        evidence=finding.evidence,
        confidence=round(finding.confidence, 3),
        also_try=list(finding.also_try),
        good_step=finding.good_step,
    )
