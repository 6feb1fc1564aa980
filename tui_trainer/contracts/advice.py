"""What the advisor says about a run, and what it may be told beforehand."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

AdviceKind = Literal[
    "oscillation",
    "plateau",
    "gradient_explosion",
    "gradient_vanishing",
    "instability",
    "loss_spike",
    "divergence",
    "non_finite",
    "overfitting",
    "stalled",
    "data_bound",
    "memory",
    "warmup_too_short",
]
Urgency = Literal["low", "medium", "high", "critical"]
AdviceStatus = Literal["raised", "updated", "closed"]
URGENCIES: tuple[Urgency, ...] = ("low", "medium", "high", "critical")


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What an advice rests on: a window of one metric, and numbers by name.

    `metric` is a column of `metrics.jsonl` (or of a hardware sample); `first_step` and
    `last_step` bound the window; `level` is what the metric was before (same unit), `value` what
    it is in the window, `limit` what would still have been normal. Where these are a spread, the
    numbers `low` and `high` are the band in which the metric itself used to lie.
    """

    metric: str  # column of a record
    first_step: int  # of the window
    last_step: int  # of the window
    value: float | None = None  # in the window
    level: float | None = None  # before the window
    limit: float | None = None  # of what is normal
    numbers: dict[str, float] = msgspec.field(default_factory=dict)  # others, by name


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One advice. It is raised once, updated while it lasts and closed when it is over: the
    `id` stays the same.

    `step` is where it was raised, `updated_step` the newest step that it speaks of.
    `suggested_lr` is `learning_rate` times `factor`; all three are None where the rate is not
    known or no change of it helps (`factor` is given without a rate where only the rate is
    unknown). `good_step` is the last step before things went wrong, for a roll-back.
    `confidence` is between 0 and 1.
    """

    id: str  # the same while it lasts
    kind: AdviceKind  # which rule
    urgency: Urgency  # how soon to act
    status: AdviceStatus  # raised, updated or closed
    step: int  # where it was raised
    updated_step: int  # newest step it is about
    learning_rate: float | None  # of that step
    suggested_lr: float | None  # `learning_rate` * `factor`
    factor: float | None  # to multiply the rate by
    reason: str  # one sentence
    evidence: Evidence  # the numbers behind it
    confidence: float  # 0..1
    also_try: list[str] = msgspec.field(default_factory=list)  # other measures, a sentence each
    good_step: int | None = None  # to roll back to


class JobFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a job before its first step; None where it is not.

    `learning_rate` is the schedule's peak. `adapter` says that low-rank updates are trained by
    an Adam-like optimizer, so that a weight moves by at most about the rate in a step;
    `usual_rate` is then one that is usual for a base of that width.
    """

    learning_rate: float | None = None  # peak of the schedule
    scheduler: str | None = None  # its name
    warmup_steps: int | None = None  # optimizer steps
    total_steps: int | None = None  # optimizer steps
    adapter: bool = False  # low-rank updates, Adam-like optimizer
    usual_rate: float | None = None  # for a base of this width


class AdvisorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the advisor judges, and what it may do by itself."""

    enabled: Annotated[bool, Meta(description="whether runs are judged at all")] = True
    muted: Annotated[
        list[AdviceKind], Meta(description='kinds never raised, such as ["plateau"]')
    ] = msgspec.field(default_factory=list)
    hang_factor: Annotated[
        float, Meta(gt=1, description="a step longer than this many median steps is a hang")
    ] = 20.0
    hang_seconds: Annotated[
        float, Meta(ge=0, description="but never one shorter than this many seconds")
    ] = 1.0
    memory_share: Annotated[
        float, Meta(gt=0, le=1, description="share of memory in use (0..1) that is too close")
    ] = 0.95
    data_share: Annotated[
        float, Meta(gt=0, le=1, description="share of a step (0..1) spent waiting for data")
    ] = 0.4
    auto_apply: Annotated[
        bool, Meta(description="high and critical advice changes the learning rate by itself")
    ] = False
    spike_rollback: Annotated[
        bool, Meta(description="after a loss spike that stays, back to the last good checkpoint")
    ] = False
    min_learning_rate: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="advice that is applied sets no rate below this one"),
    ] = None
    max_learning_rate: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="advice that is applied sets no rate above this one"),
    ] = None
    max_changes: Annotated[
        int, Meta(ge=0, description="most changes of the rate, and ways back, by itself in a run")
    ] = 3

    def __post_init__(self) -> None:
        low, high = self.min_learning_rate, self.max_learning_rate
        if low is not None and high is not None and low > high:
            raise ValueError("min_learning_rate is above max_learning_rate")

    def bounded(self, rate: float) -> float:
        """The rate within the two bounds."""
        return min(max(rate, self.min_learning_rate or rate), self.max_learning_rate or math.inf)
