"""Settings and records of teaching, from feedback to an active adapter."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tui_trainer.contracts.job import Precision, Quantization
from tui_trainer.contracts.teaching.adapter import Measures

TrainingState = Literal["queued", "training", "checking", "live", "refused", "failed", "cancelled"]
OPEN_STATES: frozenset[TrainingState] = frozenset({"queued", "training", "checking"})


class TeachingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[teaching]` section; the defaults were measured on the built-in base."""

    auto_train_threshold: Annotated[
        int, Meta(ge=0, description="corrections that start a training; 0: only /train starts one")
    ] = 10
    auto_train_weight: Annotated[
        float, Meta(ge=0, description="sum of example weights that starts a training; 0: off")
    ] = 0.0
    learning_rate: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="peak learning rate; default: by the base, lower for larger ones"),
    ] = None
    epochs: Annotated[
        int, Meta(ge=1, description="most passes over the corrections in one training")
    ] = 90
    stop_when_learned: Annotated[
        int,
        Meta(
            ge=0,
            description="steps in a row with every answer right that end it; 0: off; only for "
            "bases of over 20 M parameters",
        ),
    ] = 3
    batch_size: Annotated[int, Meta(ge=1, description="corrections per optimizer step")] = 10
    rank: Annotated[int, Meta(ge=1, description="rank of the adapter")] = 32
    alpha: Annotated[float, Meta(gt=0, description="the update is scaled by alpha / rank")] = 64
    target_modules: Annotated[
        str | list[str], Meta(description='"all-linear" or names of layers')
    ] = "all-linear"
    precision: Annotated[
        Literal["auto"] | Precision,
        Meta(
            description="arithmetic of a training: fp32, bf16, fp16 (CUDA), or auto: that of the "
            "chat's base (bf16 where the device is fast in it)"
        ),
    ] = "auto"
    quantization: Annotated[
        Quantization,
        Meta(description="of the base while training: none, or nf4 (4 bit, QLoRA; bitsandbytes)"),
    ] = "none"
    gradient_checkpointing: Annotated[
        bool, Meta(description="recompute activations: less memory, about 1.2 times the time")
    ] = False
    rewordings: Annotated[
        int, Meta(ge=0, le=24, description="English rewordings of each question, trained with it")
    ] = 12
    replay: Annotated[
        int, Meta(ge=0, description="earlier answers in every step, to prevent forgetting")
    ] = 16
    retain_weight: Annotated[
        float, Meta(ge=0, description="weight of keeping the base's own predictions; 0 is off")
    ] = 10.0
    null_space: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="share of input directions, strongest in the base's own answers, that an "
            "adapter does not read; 0 is off",
        ),
    ] = 0.6
    min_recalled: Annotated[
        float, Meta(ge=0, le=1, description="least share (0..1) of corrections that it must recall")
    ] = 0.8
    min_kept: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="least share (0..1) of golden and earlier right answers it must keep",
        ),
    ] = 0.95
    min_own_kept: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="least share (0..1) of the base's own right answers, to questions that "
            "nobody asked, it must keep",
        ),
    ] = 0.75
    time_limit_minutes: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="minutes after which a training is stopped, and what it learned checked; "
            "default: 30, up to 240 where its first steps are slow",
        ),
    ] = None
    max_new_tokens: Annotated[int, Meta(ge=1, description="most tokens of an answer")] = 256
    context_turns: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="earlier turns given with a question; default: none with the built-in "
            "base, which answers worse with them, else as many as fit"
        ),
    ] = None


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One training of the queue, as `/training` shows it."""

    id: str  # of the training
    state: TrainingState  # where it is in the queue
    created_at: float  # seconds since the epoch
    examples: list[str]  # ids of the feedback it trains on
    run_path: str | None = None  # its run folder; None before it starts
    adapter: str | None = None  # the resulting adapter; None before it is stored
    parent: str | None = None  # the adapter that it continues
    started_at: float | None = None  # seconds since the epoch
    ended_at: float | None = None  # seconds since the epoch
    step: int = 0  # optimizer steps finished
    total_steps: int | None = None  # most steps of the training; None if unknown
    learned: int | None = None  # corrections right so far; None if unknown
    taught: int | None = None  # corrections counted by `learned`; None if unknown
    eta_seconds: float | None = None  # estimated rest of the training; None if unknown
    expected_seconds: float | None = None  # of training, estimated before it started
    # Longest time of training; None before it is chosen by the speed of the first steps.
    limit_seconds: float | None = None
    # Measures of the adapters that were active before.
    before: Measures = msgspec.field(default_factory=Measures)
    after: Measures = msgspec.field(default_factory=Measures)  # measures of the new adapter
    message: str = ""  # how it ended, one sentence


class BufferState(msgspec.Struct, frozen=True, kw_only=True):
    """How far the pending examples are from starting a training."""

    count: int  # pending examples with a right answer
    threshold: int  # count that starts a training; 0 is off
    weight: float  # sum of their weights in the loss
    weight_threshold: float  # sum of weights that starts a training; 0 is off
    needs_correction: int  # further rated answers without a right answer, which are not taught


class TrainingNews(msgspec.Struct, frozen=True, kw_only=True):
    """What the background trainer reports when something has changed."""

    record: TrainingRecord | None = None  # the training that changed; None: none did
    buffer: BufferState  # the examples that the next training will use
    problem: str | None = None  # why nothing can be trained at the moment, or None
    notice: str | None = None  # what was changed without being asked, one sentence
