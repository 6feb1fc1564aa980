"""What the loop holds in its hands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import torch
from torch import nn

from tui_trainer.contracts.job import Job
from tui_trainer.contracts.run import RunInfo
from tui_trainer.engine.batches import Plan
from tui_trainer.engine.control import Control
from tui_trainer.engine.data import Dataset
from tui_trainer.engine.report import Report
from tui_trainer.store.runs import RunFolder


class TrainerState(msgspec.Struct, kw_only=True):
    """The loop's own state, saved with every checkpoint.

    `step` counts finished optimizer steps. `learning_rate_override` is (step, rate) as the user
    last set it. `threads` and `examples` must be the same for the same bits.
    """

    step: int = 0
    learning_rate_override: tuple[int, float] | None = None
    evaluated_step: int | None = None
    best_val_loss: float | None = None
    best_step: int | None = None
    tokens_seen: int = 0
    elapsed_seconds: float = 0.0
    threads: int = 1
    examples: int = 0


@dataclass
class Session:
    """One engine process's run, built by `setup.prepare`."""

    folder: RunFolder
    info: RunInfo
    job: Job
    device: torch.device
    tokenizer: Any
    model: Any
    base_reference: str
    parameters: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    dataset: Dataset
    plan: Plan
    state: TrainerState
    report: Report
    control: Control
    stopped_and_saved: bool = False
    rates_to_replay: dict[int, float] = field(default_factory=dict)
