"""What a job will take, known before it is trained."""

from __future__ import annotations

import msgspec


class JobIssue(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a job that cannot work (`error`) or is hardly meant (`warning`); `key` is
    the setting to change."""

    level: str  # "error" or "warning"
    key: str  # setting to change
    message: str  # one sentence


class Checkpointing(msgspec.Struct, frozen=True, kw_only=True):
    """What gradient checkpointing does to the largest pass: bytes that the forward pass keeps for
    the backward pass without it and with it, and how many times as long both take with it. All
    from a quarter of that pass, made both ways; bytes in proportion to its tokens."""

    kept_bytes: int  # without it
    kept_bytes_with: int  # with it
    time_factor: float  # of the pass, with it / without it


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Steps, seconds and bytes of a whole run.

    `seconds` is `startup_seconds` (from the process's start to the first step), training,
    evaluations and the end. `peak_bytes` is the most memory: of the process on a CPU (resident),
    of torch's tensors on a GPU. `measured` says whether the largest forward and backward pass
    was really made, or would not fit and was extrapolated. `micro_batch` and `accumulation` are
    what to set instead where it will not fit, or None. `largest_pass` counts tokens. `disk_bytes`
    is the most that the run folder takes at any time: `checkpoints` lie there then.
    """

    steps: int  # optimizer steps
    epochs: float  # passes over the training data
    examples: int  # of training
    tokens: int  # of all steps, without padding
    seconds: float  # of the whole run
    startup_seconds: float  # to the first step
    step_seconds: float  # of one optimizer step
    evaluations: int  # how many
    evaluation_seconds: float  # of one evaluation
    peak_bytes: int  # most memory
    base_bytes: int  # of the base's weights
    available_bytes: int  # memory that is free
    largest_pass: int  # tokens
    disk_bytes: int  # most in the run folder
    checkpoint_bytes: int  # of one checkpoint
    checkpoints: int  # kept at a time
    device: str  # as torch names it
    measured: bool  # or extrapolated
    fits: bool  # whether `peak_bytes` is available
    micro_batch: int | None = None  # examples; None where it fits
    accumulation: int | None = None  # passes per step; None where it fits
    checkpointing: Checkpointing | None = None  # what it would save
    advice: list[str] = msgspec.field(default_factory=list)  # sentences: what to change
    notices: list[str] = msgspec.field(default_factory=list)  # sentences about base and data


class RatePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a sweep: the rate, the loss before the step, and the loss smoothed."""

    learning_rate: float  # of the step
    loss: float  # nats
    smoothed: float  # nats


class RateSweep(msgspec.Struct, frozen=True, kw_only=True):
    """A learning-rate sweep (Smith 2015, arXiv:1506.01186): `steepest` is the rate at which the
    smoothed loss falls fastest over the logarithm of the rate, `lowest` where it is least,
    `proposed` the smaller of `steepest` and a tenth of `lowest`; `diverged` where it blew up;
    `notices` are sentences about the base for the user."""

    points: list[RatePoint]  # in order
    steepest: float | None  # rate
    lowest: float | None  # rate
    proposed: float | None  # rate
    diverged: float | None  # rate; None where it did not
    reason: str  # for the proposal, or why there is none
    notices: list[str] = msgspec.field(default_factory=list)  # sentences about the base
