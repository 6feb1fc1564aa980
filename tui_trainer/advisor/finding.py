"""What a rule finds in a row: the advice before it has an identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tui_trainer.contracts.advice import AdviceKind, Evidence, Urgency

COLD_START = ("warm up over some 5 % of the steps", "start again with the lower rate")


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
