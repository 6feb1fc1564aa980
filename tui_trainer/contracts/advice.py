"""Advice about a run, the facts of a job that the advisor uses, and its settings."""

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
    """The measurements behind an advice: a window of one metric, and further numbers.

    `value`, `level` and `limit` have the metric's unit. If they measure its spread, `numbers` has
    `low` and `high`, the bounds of the metric itself before the window.
    """

    metric: str  # column of `metrics.jsonl`, or field of a hardware sample
    first_step: int  # first step of the window
    last_step: int  # last step of the window
    value: float | None = None  # of the metric in the window
    level: float | None = None  # of the metric before the window
    limit: float | None = None  # largest (or smallest) normal value
    numbers: dict[str, float] = msgspec.field(default_factory=dict)  # further numbers, by name


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One advice: raised once, updated while its cause lasts, then closed.

    `factor` is None if no change of the learning rate helps; `learning_rate` and `suggested_lr`
    are None then, and if the rate is unknown.
    """

    id: str  # the same from raised to closed
    kind: AdviceKind  # the rule that raised it
    urgency: Urgency  # how soon to act
    status: AdviceStatus  # raised, updated or closed
    step: int  # at which it was raised
    updated_step: int  # newest step that it is about
    learning_rate: float | None  # at `updated_step`
    suggested_lr: float | None  # `learning_rate` * `factor`
    factor: float | None  # to multiply the learning rate by
    reason: str  # one sentence
    evidence: Evidence  # the measurements behind it
    confidence: float  # 0..1
    also_try: list[str] = msgspec.field(default_factory=list)  # other remedies, a sentence each
    good_step: int | None = None  # last step before the onset, to roll back to


class JobFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a job before its first step; None if unknown.

    With `adapter`, low-rank updates are trained by an Adam-like optimizer, so that a step changes
    a weight by at most about the learning rate.
    """

    learning_rate: float | None = None  # peak of the schedule
    scheduler: str | None = None  # name of the schedule
    warmup_steps: int | None = None  # optimizer steps
    total_steps: int | None = None  # optimizer steps
    adapter: bool = False  # low-rank updates with an Adam-like optimizer
    usual_rate: float | None = None  # usual learning rate for a base of this width


class AdvisorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the advisor's rules, and what it may change automatically."""

    enabled: Annotated[bool, Meta(description="whether the advisor watches runs")] = True
    muted: Annotated[
        list[AdviceKind], Meta(description='kinds that are not raised, such as ["plateau"]')
    ] = msgspec.field(default_factory=list)
    hang_factor: Annotated[
        float, Meta(gt=1, description="a step longer than this many median steps is a hang")
    ] = 20.0
    hang_seconds: Annotated[
        float, Meta(ge=0, description="seconds; a shorter step is never a hang")
    ] = 1.0
    memory_share: Annotated[
        float, Meta(gt=0, le=1, description="share of memory in use (0..1) that raises advice")
    ] = 0.95
    data_share: Annotated[
        float,
        Meta(gt=0, le=1, description="share of a step (0..1) waiting for data that raises advice"),
    ] = 0.4
    auto_apply: Annotated[
        bool, Meta(description="apply the rates of high and critical advice automatically")
    ] = False
    spike_rollback: Annotated[
        bool, Meta(description="roll back to the last good checkpoint after a lasting loss spike")
    ] = False
    min_learning_rate: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="lowest learning rate that applied advice sets"),
    ] = None
    max_learning_rate: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="highest learning rate that applied advice sets"),
    ] = None
    max_changes: Annotated[
        int, Meta(ge=0, description="most automatic rate changes and rollbacks in one run")
    ] = 3

    def __post_init__(self) -> None:
        low, high = self.min_learning_rate, self.max_learning_rate
        if low is not None and high is not None and low > high:
            raise ValueError("min_learning_rate is above max_learning_rate")

    def bounded(self, rate: float) -> float:
        """`rate`, limited to `min_learning_rate` and `max_learning_rate`."""
        return min(max(rate, self.min_learning_rate or rate), self.max_learning_rate or math.inf)
