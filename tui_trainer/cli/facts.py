"""One run's facts, gathered from its folder for printing."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from tui_trainer.contracts.metrics import EvalRecord, TrainRecord
from tui_trainer.store import checkpoints
from tui_trainer.store.runs import RunFolder

_TAIL_BYTES = 65_536


@dataclass(frozen=True)
class LastMetrics:
    """The newest training row and the newest evaluation, as far as the file's end holds them."""

    train: TrainRecord | None = None
    evaluation: EvalRecord | None = None


def last_metrics(folder: RunFolder) -> LastMetrics:
    """Reads the end of `metrics.jsonl`; unreadable lines are passed over."""
    decoder = msgspec.json.Decoder(TrainRecord | EvalRecord)
    train: TrainRecord | None = None
    evaluation: EvalRecord | None = None
    for line in reversed(_tail(folder)):
        with contextlib.suppress(msgspec.MsgspecError):
            record = decoder.decode(line)
            if isinstance(record, TrainRecord):
                train = train or record
            else:
                evaluation = evaluation or record
        if train and evaluation:
            break
    return LastMetrics(train, evaluation)


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint; `problem` says what is wrong with one that is not whole."""

    name: str
    step: int
    path: str
    bytes: int
    best: bool
    problem: str | None


def checkpoint_facts(folder: RunFolder) -> list[CheckpointFacts]:
    """Every checkpoint, oldest first; reads and compares all their bytes."""
    best = checkpoints.best_name(folder)
    found = []
    for step, path in checkpoints.list_checkpoints(folder):
        manifest = checkpoints.read_manifest(path)
        total = sum(entry.bytes for entry in manifest.files.values()) if manifest else 0
        problem = checkpoints.problem(path)
        found.append(CheckpointFacts(path.name, step, str(path), total, path.name == best, problem))
    return found


def summary(folder: RunFolder) -> dict[str, Any]:
    """What the list of runs says about one."""
    info, state, last = folder.info(), folder.state(), last_metrics(folder)
    return {
        "id": info.id if info else folder.path.name,
        "name": info.name if info else folder.path.name,
        "path": str(folder.path),
        "status": folder.status(),
        "step": state.step if state else None,
        "total_steps": state.total_steps if state else None,
        "loss": last.train.loss if last.train else None,
        "val_loss": last.evaluation.val_loss if last.evaluation else None,
        "best_val_loss": state.best_val_loss if state else None,
        "best_step": state.best_step if state else None,
        "created_at": info.created_at if info else None,
        "updated_at": state.updated_at if state else None,
        "message": state.message if state else "",
    }


def everything(folder: RunFolder) -> dict[str, Any]:
    """What `runs show` says about one run."""
    last = last_metrics(folder)
    adapter = folder.adapter_dir / "adapter_model.safetensors"
    return {
        **summary(folder),
        "info": folder.info(),
        "state": folder.state(),
        "last_train": last.train,
        "last_eval": last.evaluation,
        "data": folder.data(),
        "evaluation": folder.evaluation(),
        "checkpoints": [asdict(item) for item in checkpoint_facts(folder)],
        "adapter": str(folder.adapter_dir) if adapter.is_file() else None,
        "log": folder.log_tail() if folder.status() in ("failed", "crashed") else [],
    }


def _tail(folder: RunFolder) -> list[bytes]:
    try:
        with folder.metrics_file.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return file.read().split(b"\n")
    except OSError:
        return []
