"""Following a run from its folder, batch by batch, until its engine has ended."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tui_trainer.contracts.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.run import ACTIVE_STATES, Event, RunState
from tui_trainer.store.jsonl import RecordReader
from tui_trainer.store.runs.run_folder import RunFolder

Update = TrainRecord | EvalRecord | Event | RunState
T = TypeVar("T")
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Position:
    """How far a run's files were read, in bytes."""

    metrics: int = 0
    events: int = 0

    @classmethod
    def at_end(cls, folder: RunFolder) -> Position:
        """Behind everything that is there now."""
        return cls(_size(folder.metrics_file), _size(folder.events_file))


def follow(
    folder: RunFolder, process: subprocess.Popen[bytes] | None, since: Position | None = None
) -> Iterator[tuple[Update, ...]]:
    """Yields what is new every `POLL_SECONDS`, by time, until the engine has ended.

    A batch may be empty: the caller gets its turn to look after signals. `since` leaves out
    what was there before; the state comes first, and again whenever it changed. Without
    `process` the end is read from the run's state.
    """
    since = since or Position()
    metrics: RecordReader[TrainRecord | EvalRecord] = RecordReader(
        folder.metrics_file, TrainRecord | EvalRecord, since.metrics
    )
    events: RecordReader[Event] = RecordReader(folder.events_file, Event, since.events)
    shown: RunState | None = None
    while True:
        ended = _ended(folder, process)  # before reading, so that the last rows are read after it
        found: list[Update] = [*_new(metrics), *_new(events)]
        state = folder.state()
        if state is not None and state != shown:
            shown = state
            found.append(state)
        yield tuple(sorted(found, key=_time))
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _new(records: RecordReader[T]) -> list[T]:
    try:
        return records.new()
    except OSError:  # absent until the engine has written its first line
        return []


def _time(update: Update) -> float:
    return update.updated_at if isinstance(update, RunState) else update.time


def _ended(folder: RunFolder, process: subprocess.Popen[bytes] | None) -> bool:
    if process is not None:
        return process.poll() is not None
    return folder.status() not in (*ACTIVE_STATES, "idle")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
