"""What is known about a job before training: issues, time, memory, and a rate sweep."""

from __future__ import annotations

import msgspec


class JobIssue(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that cannot work (an error) or is unusual (a warning)."""

    level: str  # "error" or "warning"
    key: str  # setting to change, such as "training.batch_size"
    message: str  # one sentence


class Checkpointing(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of gradient checkpointing on the largest forward and backward pass.

    Measured on a quarter of that pass, with and without; bytes are scaled by the tokens.
    """

    kept_bytes: int  # kept for the backward pass without it
    kept_bytes_with: int  # kept for the backward pass with it
    time_factor: float  # time of the pass with it / without it


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """Steps, time, memory and disk of a whole run."""

    steps: int  # optimizer steps
    epochs: float  # passes over the training data
    examples: int  # of the training part
    tokens: int  # of all steps, without padding
    seconds: float  # of the whole run: startup, training, evaluations and the final save
    startup_seconds: float  # from the start of the process to the first step
    step_seconds: float  # of one optimizer step
    evaluations: int  # in the whole run
    evaluation_seconds: float  # of one evaluation
    peak_bytes: int  # most memory: resident (CPU), or of torch's tensors (GPU)
    base_bytes: int  # of the base's weights
    available_bytes: int  # free memory of the device
    largest_pass: int  # tokens of the largest forward and backward pass
    disk_bytes: int  # largest size of the run folder
    checkpoint_bytes: int  # of one checkpoint
    checkpoints: int  # in the run folder when it is largest
    device: str  # as torch names it
    measured: bool  # the largest pass was executed; otherwise it does not fit: extrapolated
    fits: bool  # whether `peak_bytes` is available
    micro_batch: int | None = None  # examples per pass that fit; None if the job's do
    accumulation: int | None = None  # passes per step for `micro_batch`; None if the job fits
    checkpointing: Checkpointing | None = None  # effect of gradient checkpointing, if measured
    advice: list[str] = msgspec.field(default_factory=list)  # what to change, a sentence each
    notices: list[str] = msgspec.field(default_factory=list)  # sentences about base and data


class RatePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a learning-rate sweep."""

    learning_rate: float  # of the step
    loss: float  # before the step, nats
    smoothed: float  # smoothed loss, nats


class RateSweep(msgspec.Struct, frozen=True, kw_only=True):
    """A learning-rate sweep (Smith 2015, arXiv:1506.01186)."""

    points: list[RatePoint]  # steps, in order
    # Rate at which the smoothed loss falls fastest over the logarithm of the rate.
    steepest: float | None
    lowest: float | None  # rate at which the smoothed loss is lowest
    proposed: float | None  # rate: the smaller of `steepest` and `lowest` / 10
    diverged: float | None  # rate at which the loss diverged; None if it did not
    reason: str  # for the proposal, or why there is none
    notices: list[str] = msgspec.field(default_factory=list)  # sentences about the base
