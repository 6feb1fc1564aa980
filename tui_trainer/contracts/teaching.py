"""Settings and records of teaching: from feedback to a live adapter."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tui_trainer.contracts.adapter import Measures

TrainingState = Literal["queued", "training", "checking", "live", "refused", "failed", "cancelled"]


class TeachingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How corrections are learned; the defaults were measured on the built-in base."""

    auto_train_threshold: Annotated[
        int, Meta(ge=0, description="taught examples that start a training; 0 only by /train")
    ] = 10
    auto_train_weight: Annotated[
        float, Meta(ge=0, description="sum of example weights that starts one; 0 is off")
    ] = 0.0
    learning_rate: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="peak rate of the adapter; left out: measured, lower for larger bases"),
    ] = None
    epochs: Annotated[
        int, Meta(ge=1, description="times each correction is seen in one training at most")
    ] = 90
    stop_when_learned: Annotated[
        int,
        Meta(
            ge=0,
            description="steps in a row with every answer right that end it; 0 off; of bases of "
            "over 20 M parameters",
        ),
    ] = 3
    batch_size: Annotated[int, Meta(ge=1, description="corrections per step")] = 10
    rank: Annotated[int, Meta(ge=1, description="rank of the adapter")] = 32
    alpha: Annotated[float, Meta(gt=0, description="scale is alpha / rank")] = 64
    target_modules: Annotated[
        str | list[str], Meta(description='"all-linear" or names of layers')
    ] = "all-linear"
    rewordings: Annotated[
        int, Meta(ge=0, le=24, description="other (English) wordings of a question taught with it")
    ] = 12
    replay: Annotated[
        int, Meta(ge=0, description="earlier answers mixed into every step, against forgetting")
    ] = 16
    retain_weight: Annotated[
        float, Meta(ge=0, description="weight of keeping the base's own predictions; 0 is off")
    ] = 10.0
    min_recalled: Annotated[
        float, Meta(ge=0, le=1, description="share of corrections recalled to go live")
    ] = 0.8
    min_kept: Annotated[
        float, Meta(ge=0, le=1, description="share of earlier right answers kept to go live")
    ] = 0.95
    time_limit_minutes: Annotated[
        float,
        Meta(
            gt=0, description="a training that takes longer is ended, and what it learned checked"
        ),
    ] = 30.0
    max_new_tokens: Annotated[int, Meta(ge=1, description="tokens of an answer at most")] = 256
    context_turns: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="earlier turns shown with a question; left out: none to the built-in "
            "base, which answers worse with them, else as many as fit"
        ),
    ] = None


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One training of the queue, as `/training` shows it. Times in seconds since the epoch."""

    id: str  # of the training
    state: TrainingState  # where it is in the queue
    created_at: float  # seconds since the epoch
    examples: list[str]  # ids of the feedback it trains on
    run_path: str | None = None  # its run folder; None before it starts
    adapter: str | None = None  # that came of it
    parent: str | None = None  # adapter it continues
    started_at: float | None = None  # seconds since the epoch
    ended_at: float | None = None  # seconds since the epoch
    step: int = 0  # optimizer steps finished
    total_steps: int | None = None  # steps of the training at most; None where unknown
    learned: int | None = None  # corrections right so far; None where unknown
    taught: int | None = None  # corrections counted by `learned`; None where unknown
    eta_seconds: float | None = None  # of training left, about; None where unknown
    expected_seconds: float | None = None  # of training, estimated before it started
    # Of the model that was active before.
    before: Measures = msgspec.field(default_factory=Measures)
    after: Measures = msgspec.field(default_factory=Measures)  # of the new adapter
    message: str = ""  # one sentence: how it ended
