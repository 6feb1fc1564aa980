"""Training state: what one engine process has loaded and what its checkpoints save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from torch import nn

from tui_trainer.advisor.advisor import Advisor
from tui_trainer.contracts.advice import Advice, AdvisorSettings
from tui_trainer.contracts.best_metric import BestMetric, metric_of
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.metrics import GradientCheck
from tui_trainer.contracts.runs.run import BestEvaluation, RunInfo
from tui_trainer.contracts.schedule import RateChange, Scaling
from tui_trainer.engine.data.batching import Batch, BatchPlan, collate
from tui_trainer.engine.data.dataset import Dataset
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.loss import ForwardMode
from tui_trainer.engine.records.background_writer import BackgroundWriter
from tui_trainer.engine.records.hardware_samples import DelayedSamples
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.engine.records.step_profile import StepProfile
from tui_trainer.engine.state.command_source import CommandSource
from tui_trainer.engine.state.ranks import Ranks, Replica
from tui_trainer.engine.teaching.learned_answers import LearnedAnswers
from tui_trainer.engine.teaching.null_space import NullSpace
from tui_trainer.models.greedy_answers import SamplePrompts
from tui_trainer.store.runs.run_folder import RunFolder

# Types of the forward pass, where it is not fp32.
_AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class RateTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the learning rate made by `auto_apply` that is still being judged."""

    advice: str  # id of the advice
    step: int  # finished steps when it was made
    multiplier: float  # what the schedule was multiplied with before
    level: float  # median loss before
    spread: float  # median absolute deviation of the losses before


@dataclass(frozen=True)
class RollbackPoint:
    """A rollback that is made before the next step."""

    checkpoint: Path  # a complete one
    reason: str  # for the event
    rate: float | None = None  # learning rate at `at_step`; None: keep the schedule
    at_step: int = 0  # finished steps after which `rate` is meant
    ramp: int = 1  # steps within which the schedule is scaled to `rate`
    raises: bool = False  # whether the rate is only raised; else it is only lowered
    good: int = 0  # last step before the problem
    until: int | None = None  # the lower rate ends after this step; None: it stays
    detail: dict[str, Any] = field(default_factory=dict)  # goes into the event
    trial: RateTrial | None = None  # starts with the rollback


@dataclass(frozen=True, slots=True)
class StepResult:
    """The outcome of one optimizer step."""

    loss: float  # mean per learned token (nats)
    norm: float  # of the gradient before clipping
    passes: list[Sequence[Example]]  # examples of each forward pass
    healthy: bool  # whether the weights were changed
    gradients: GradientCheck | None = None  # None where they were not measured
    accuracy: float = math.nan  # share (0..1) of the learned tokens that were predicted correctly

    @property
    def nonfinite(self) -> list[str]:
        """Which of its values are not finite, by their names in a record."""
        values = {"loss": self.loss, "gradient_norm": self.norm}
        return [name for name, value in values.items() if not math.isfinite(value)]


class Finished(NamedTuple):
    """A finished step whose record is not written yet."""

    step: int  # finished steps, this one included
    outcome: StepResult
    rate: float  # learning rate
    seconds: float  # that the step took
    time: float  # when it ended (seconds since the epoch)


class TrainerState(msgspec.Struct, kw_only=True):
    """The state of the training loop, saved with every checkpoint."""

    step: int = 0  # finished optimizer steps
    learning_rate_override: tuple[int, float] | None = None  # (step, rate) as the user set it
    evaluated_step: int | None = None  # step of the last evaluation
    best_val_loss: float | None = None  # nats per learned token
    best_step: int | None = None  # step of `best_val_loss`
    scores: dict[str, float] = msgspec.field(default_factory=dict)  # of `evaluated_step`, by metric
    best: BestEvaluation | None = None  # whose weights are kept
    tokens_seen: int = 0  # without padding
    elapsed_seconds: float = 0.0  # of training, without pauses, over all sessions
    threads: int = 1  # of the CPU; the same for the same bits
    processes: int = 1  # that train together; the same for the same bits
    examples: int = 0  # in the training part; the same for the same bits
    micro_batch: int | None = None  # most examples per pass, since memory ran out; None: no limit
    skipped: int = 0  # steps in a row with values that are not finite
    stopping_best: float | None = None  # best value of early stopping's metric
    stopping_count: int = 0  # evaluations since `stopping_best`
    learned: dict[str, int] = msgspec.field(default_factory=dict)  # see `LearnedAnswers`
    scale: tuple[float, int] | None = None  # fp16's loss scale, and steps since it changed
    scaling: Scaling | None = None  # multiplies the schedule
    advisor: dict[str, Any] | None = None  # the advisor's own state
    applied: dict[str, int] = msgspec.field(default_factory=dict)  # advice id -> its updated step
    changes: int = 0  # changes made automatically so far
    sampled: float = 0.0  # time of the advisor's newest hardware sample (seconds since the epoch)
    recent: list[float] = msgspec.field(default_factory=list)  # the newest training losses
    trial: RateTrial | None = None  # an automatic change that is being judged
    rolled_back: float = 0.0  # time of the last rollback (seconds since the epoch)
    # Last good step and multiplier before each automatic rollback that lowered the rate.
    setbacks: list[tuple[int, float]] = msgspec.field(default_factory=list)


@dataclass
class Session:
    """One engine process's run, built by `setup.prepare`."""

    folder: RunFolder
    info: RunInfo  # content of run.json
    job: Job
    device: torch.device  # that computes
    tokenizer: Any  # of transformers
    model: Any  # the base with its adapter (PeftModel)
    forward_mode: ForwardMode  # how examples are passed through the model
    base_reference: str  # the base's name, without a path, for the adapter's configuration
    parameters: dict[str, nn.Parameter]  # the trained ones, by name
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # of fp16's loss; disabled otherwise
    dataset: Dataset  # all examples
    plan: BatchPlan  # which examples each step takes
    state: TrainerState  # saved with every checkpoint
    report: RunReporter  # writes metrics, events and state.json
    control: CommandSource  # commands of the user
    writer: BackgroundWriter = field(default_factory=BackgroundWriter)  # of checkpoints
    step_profile: StepProfile = field(default_factory=StepProfile)  # times of a step's parts
    ranks: Ranks = field(default_factory=Ranks)  # the processes that train together
    stopped_and_saved: bool = False  # a stop was executed
    saved: str = ""  # whose weights `adapter/` has, such as "step 50, the best (val_loss 1.2)"
    disk_is_full: bool = False  # whether checkpoints do not fit, which was logged
    sample_prompts: SamplePrompts | None = None  # answered at each evaluation; None: no prompts
    learned: LearnedAnswers | None = None  # taught answers; None where they are not counted
    null_space: NullSpace | None = None  # what the adapter may read; None: everything
    advisor: Advisor | None = None  # None where it is off
    samples: DelayedSamples | None = None  # hardware samples for the advisor
    unwritten_steps: list[Finished] = field(default_factory=list)  # records not written yet
    pending_rollback: RollbackPoint | None = None  # the requested rollback
    # Changes to repeat after a kill: rates by step, (step, kind) of muted advice, and
    # (step, "step" or "evaluation", examples per pass) where memory ran out.
    rates_to_replay: dict[int, list[float | RateChange]] = field(default_factory=dict)
    mutes_to_replay: list[tuple[int, str]] = field(default_factory=list)
    pass_sizes_to_replay: list[tuple[int, str, int]] = field(default_factory=list)

    @property
    def pass_size(self) -> int:
        """Examples per pass of an evaluation: fewer than a batch after memory ran out."""
        return self.state.micro_batch or self.job.training.batch_size

    @cached_property
    def advisor_settings(self) -> AdvisorSettings:
        """The advisor's settings, as they were when the run was created."""
        return self.job.advisor or AdvisorSettings()

    @cached_property
    def metric(self) -> BestMetric:
        """The metric by which evaluations are compared. Raises `UserError`."""
        return metric_of(self.job)

    @property
    def open_advice(self) -> list[Advice]:
        """The open advice, up to the last record that the advisor received."""
        return self.advisor.open if self.advisor is not None else []

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Return the tensors of one pass, packed or padded as this base needs them."""
        pad = self.tokenizer.pad_token_id
        return collate(list(examples), pad, self.device, packed=self.forward_mode.packed)

    def replica(self) -> Replica:
        """Return what must be the same in all processes of the run."""
        return Replica(
            self.model,
            self.parameters,
            self.dataset.report.fingerprint,
            self.job.training.seed,
            self.state.step,
        )

    def autocast(self) -> torch.autocast:
        """Return the context for the forward pass in the job's precision."""
        kind = _AUTOCAST_TYPES.get(self.job.training.precision)
        return torch.autocast(self.device.type, kind, enabled=kind is not None)
