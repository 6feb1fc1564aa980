"""The losses of the current training, read from the end of its metrics file."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tui_trainer.contracts.teaching.training import TrainingRecord
from tui_trainer.store import jsonl
from tui_trainer.store.runs.run_folder import RunFolder


class _Row(msgspec.Struct):
    kind: str = ""
    loss: float | None = None


@dataclass(frozen=True)
class LossCurve:
    """The losses of a running training, and the state of its run."""

    losses: tuple[float, ...] = ()  # the newest ones, oldest first
    eta_seconds: float | None = None
    status: str = ""


def curve_of(record: TrainingRecord) -> LossCurve | None:
    """The curve of a running training; None for any other."""
    if record.state != "training" or record.run_path is None:
        return None
    folder = RunFolder(Path(record.run_path))
    state = folder.state()
    return LossCurve(
        losses=losses_of(folder.metrics_file),
        eta_seconds=state.eta_seconds if state else None,
        status=state.state if state else "",
    )


def losses_of(file: Path) -> tuple[float, ...]:
    """The newest losses in a metrics file, oldest first."""
    found: list[float] = []
    with contextlib.suppress(OSError):
        for row in jsonl.newest_records(file, _Row):
            if row.kind == "train" and row.loss is not None:
                found.append(row.loss)
    return tuple(reversed(found))
