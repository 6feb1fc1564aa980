"""What the loop holds in its hands."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from torch import nn

from tui_trainer.advisor.advisor import Advisor
from tui_trainer.contracts.advice import Advice, AdvisorSettings
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.run import RunInfo
from tui_trainer.contracts.schedule import RateChange, Scaling
from tui_trainer.engine.data.batching import Batch, BatchPlan, collate
from tui_trainer.engine.data.dataset import Dataset
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.loss import ForwardMode
from tui_trainer.engine.records.background_writer import BackgroundWriter
from tui_trainer.engine.records.hardware_samples import DueSamples
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.engine.records.step_profile import StepProfile
from tui_trainer.engine.state.command_source import CommandSource
from tui_trainer.engine.state.ranks import Ranks, Replica
from tui_trainer.store.runs.run_folder import RunFolder

# Arithmetic of the forward pass, where it is not fp32.
_ARITHMETIC = {"bf16": torch.bfloat16, "fp16": torch.float16}


class RateTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the rate that `auto_apply` made after `step` steps for an advice: what the
    schedule was multiplied with before, the loss then and its median absolute deviation."""

    advice: str
    step: int
    multiplier: float
    level: float
    spread: float


@dataclass(frozen=True)
class RollbackPoint:
    """Where a run is to go back to before its next step, and why: `checkpoint` is a whole one,
    `detail` goes into the event. From there the schedule is scaled, within `ramp` steps, so that
    the step after `at_step` finished ones has the rate `rate` (None: leave it); it is only
    lowered, or where `raises` only raised. `good` is the last step before the trouble. A
    `trial` begins there. With `until`, the lower rate is for the steps up to that one only."""

    checkpoint: Path
    words: str
    rate: float | None = None
    at_step: int = 0
    ramp: int = 1
    raises: bool = False
    good: int = 0
    until: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    trial: RateTrial | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did: its loss, its gradient's norm before clipping, its passes, whether the
    weights were changed."""

    loss: float
    norm: float
    passes: list[list[Example]]
    healthy: bool

    @property
    def nonfinite(self) -> list[str]:
        """Which of its numbers are not finite, by their names in a record."""
        values = {"loss": self.loss, "gradient_norm": self.norm}
        return [name for name, value in values.items() if not math.isfinite(value)]


class Finished(NamedTuple):
    """A step that is done: it was this one, with the rate `rate`, took `seconds`, and ended at
    `time` (seconds since the epoch)."""

    step: int
    outcome: StepResult
    rate: float
    seconds: float
    time: float


class TrainerState(msgspec.Struct, kw_only=True):
    """The loop's own state, saved with every checkpoint.

    `step` counts finished optimizer steps. `learning_rate_override` is (step, rate) as the user
    last set it. `threads` and `examples` must be the same for the same bits. `micro_batch` is
    the most examples of a pass, since memory once ran out; `skipped` counts the steps in a row
    whose numbers were not finite. `stopping_best` and `stopping_count` are early stopping's
    best value and how many evaluations since were no better. `scale` is fp16's loss scale and
    the steps since it last changed. `scaling` multiplies the schedule; `advisor` is what the
    advisor remembers, `applied` the advice that was applied, as updated at a step, `sampled` the
    time of the newest hardware sample that it was shown; `changes`, `recent` (losses) and `trial`
    belong to what is done by itself; `rolled_back` is when the run last went back (seconds since
    the epoch), `setbacks` are the good step and the multiplier before each time it did so to
    lower the rate.
    """

    step: int = 0
    learning_rate_override: tuple[int, float] | None = None
    evaluated_step: int | None = None
    best_val_loss: float | None = None
    best_step: int | None = None
    tokens_seen: int = 0
    elapsed_seconds: float = 0.0
    threads: int = 1
    processes: int = 1  # that train together: the same, for the same bits
    examples: int = 0
    micro_batch: int | None = None
    skipped: int = 0
    stopping_best: float | None = None
    stopping_count: int = 0
    scale: tuple[float, int] | None = None
    scaling: Scaling | None = None
    advisor: dict[str, Any] | None = None
    applied: dict[str, int] = msgspec.field(default_factory=dict)
    changes: int = 0
    sampled: float = 0.0
    recent: list[float] = msgspec.field(default_factory=list)
    trial: RateTrial | None = None
    rolled_back: float = 0.0
    setbacks: list[tuple[int, float]] = msgspec.field(default_factory=list)


@dataclass
class Session:
    """One engine process's run, built by `setup.prepare`."""

    folder: RunFolder
    info: RunInfo
    job: Job
    device: torch.device
    tokenizer: Any
    model: Any
    way: ForwardMode
    base_reference: str
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    dataset: Dataset
    plan: BatchPlan
    state: TrainerState
    report: RunReporter
    control: CommandSource
    writer: BackgroundWriter = field(default_factory=BackgroundWriter)
    division: StepProfile = field(default_factory=StepProfile)
    ranks: Ranks = field(default_factory=Ranks)
    stopped_and_saved: bool = False
    without_room: bool = False  # the disk is too full for checkpoints, which was said
    advisor: Advisor | None = None
    samples: DueSamples | None = None
    unsettled: list[Finished] = field(default_factory=list)  # steps not written down yet
    going_back: RollbackPoint | None = None
    rates_to_replay: dict[int, list[float | RateChange]] = field(default_factory=dict)
    mutes_to_replay: list[tuple[int, str]] = field(default_factory=list)
    smaller_to_replay: list[tuple[int, str, int]] = field(default_factory=list)

    @cached_property
    def advisor_settings(self) -> AdvisorSettings:
        """The run's settings of the advisor, as they were when it was made."""
        return self.job.advisor or AdvisorSettings()

    @property
    def open_advice(self) -> list[Advice]:
        """The advice that stands, as far as the advisor was shown what was written."""
        return self.advisor.open if self.advisor is not None else []

    def collate(self, examples: list[Example]) -> Batch:
        """The examples of one pass, in the way that this base takes them."""
        pad = self.tokenizer.pad_token_id
        return collate(examples, pad, self.device, side_by_side=self.way.side_by_side)

    def replica(self) -> Replica:
        """What must be the same in all processes of the run."""
        return Replica(
            self.model,
            self.parameters,
            self.dataset.report.fingerprint,
            self.job.training.seed,
            self.state.step,
        )

    def autocast(self) -> torch.autocast:
        """The forward pass's arithmetic, as the job asks for it."""
        kind = _ARITHMETIC.get(self.job.training.precision)
        return torch.autocast(self.device.type, kind, enabled=kind is not None)
