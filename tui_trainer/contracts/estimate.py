"""What a job will take, known before it is trained."""

from __future__ import annotations

import msgspec


class JobIssue(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a job that cannot work (`error`) or is hardly meant (`warning`); `key` is
    the setting to change."""

    level: str
    key: str
    message: str


class Checkpointing(msgspec.Struct, frozen=True, kw_only=True):
    """What gradient checkpointing does to the largest pass: bytes that the forward pass keeps for
    the backward pass without it and with it, and how many times as long both take with it. All
    from a quarter of that pass, made both ways; bytes in proportion to its tokens."""

    kept_bytes: int
    kept_bytes_with: int
    time_factor: float


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Steps, seconds and bytes of a whole run.

    `seconds` is `startup_seconds` (from the process's start to the first step), training,
    evaluations and the end. `peak_bytes` is the most memory: of the process on a CPU (resident),
    of torch's tensors on a GPU. `measured` says whether the largest forward and backward pass
    was really made, or would not fit and was extrapolated. `micro_batch` and `accumulation` are
    what to set instead where it will not fit, or None. `largest_pass` counts tokens. `disk_bytes`
    is the most that the run folder takes at any time: `checkpoints` lie there then.
    """

    steps: int
    epochs: float
    examples: int
    tokens: int
    seconds: float
    startup_seconds: float
    step_seconds: float
    evaluations: int
    evaluation_seconds: float
    peak_bytes: int
    base_bytes: int
    available_bytes: int
    largest_pass: int
    disk_bytes: int
    checkpoint_bytes: int
    checkpoints: int
    device: str
    measured: bool
    fits: bool
    micro_batch: int | None = None
    accumulation: int | None = None
    checkpointing: Checkpointing | None = None
    advice: list[str] = msgspec.field(default_factory=list)
    notices: list[str] = msgspec.field(default_factory=list)


class RatePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a sweep: the rate, the loss before the step, and the loss smoothed."""

    learning_rate: float
    loss: float
    smoothed: float


class RateSweep(msgspec.Struct, frozen=True, kw_only=True):
    """A learning-rate sweep (Smith 2015, arXiv:1506.01186): `steepest` is the rate at which the
    smoothed loss falls fastest over the logarithm of the rate, `lowest` where it is least,
    `proposed` the smaller of `steepest` and a tenth of `lowest`; `diverged` where it blew up;
    `notices` are sentences about the base for the user."""

    points: list[RatePoint]
    steepest: float | None
    lowest: float | None
    proposed: float | None
    diverged: float | None
    reason: str
    notices: list[str] = msgspec.field(default_factory=list)
