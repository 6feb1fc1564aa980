"""The evaluation of the weights in a checkpoint."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TypeVar

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.store import jsonl
from tui_trainer.store.regular_files import read_regular
from tui_trainer.store.runs.run_folder import RunFolder

TRAINER = "trainer.json"
T = TypeVar("T")


class _Trainer(msgspec.Struct, frozen=True):
    """What this module needs of `trainer.json`."""

    step: int = 0
    evaluated_step: int | None = None
    scores: dict[str, float] = msgspec.field(default_factory=dict)


def read(run: RunFolder, checkpoint: Path) -> dict[str, float]:
    """The metrics of a checkpoint's weights, by name; empty if they were not evaluated."""
    trainer = None
    with contextlib.suppress(OSError, *BAD_CONTENT):
        trainer = msgspec.json.decode(read_regular(checkpoint / TRAINER), type=_Trainer)
    if trainer is None or trainer.evaluated_step != trainer.step:
        return {}
    return trainer.scores or at_step(run, trainer.step)  # earlier versions had no `scores`


def at_step(run: RunFolder, step: int) -> dict[str, float]:
    """The metrics of the last evaluation at a step, by name; empty if there was none."""
    record = _last_row(run, EvalRecord, step)
    values = {} if record is None else msgspec.structs.asdict(record)
    return {
        name: value
        for name, value in values.items()
        if name.startswith("val_") and isinstance(value, float)
    }


def train_loss(run: RunFolder, step: int) -> float | None:
    """The training loss (nats) of a step, as last written; None if unknown."""
    record = _last_row(run, TrainRecord, step)
    return None if record is None else record.loss


def _last_row(run: RunFolder, kind: type[T], step: int) -> T | None:
    """The last row of a step, which replaces earlier ones after a rollback."""
    found, wanted = None, f'"step":{step},'.encode()
    with contextlib.suppress(OSError):
        for line in jsonl.LineReader(run.metrics_file).read(last=True):
            if wanted in line.data:
                with contextlib.suppress(*BAD_CONTENT):
                    found = msgspec.json.decode(line.data, type=kind)
    return found
