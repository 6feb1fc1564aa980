"""Following a run through the files of its folder until its engine has ended."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.runs.run import ACTIVE_STATES, Event, RunState
from tui_trainer.store.jsonl import RecordReader
from tui_trainer.store.runs.run_folder import RunFolder

Update = TrainRecord | EvalRecord | Event | RunState
T = TypeVar("T")
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Position:
    """Offsets in a run's files, in bytes."""

    metrics: int = 0  # in `metrics.jsonl`
    events: int = 0  # in `events.jsonl`

    @classmethod
    def at_end(cls, folder: RunFolder) -> Position:
        """The present ends of the files."""
        return cls(_size(folder.metrics_file), _size(folder.events_file))


def follow(
    folder: RunFolder, process: subprocess.Popen[bytes] | None, since: Position | None = None
) -> Iterator[tuple[Update, ...]]:
    """Yield new records and states every `POLL_SECONDS`, sorted by time, until the engine ends.

    A batch may be empty, so that the caller can handle signals. Records before `since` are left
    out; the present state is in the first batch. Without `process` the end is read from the
    run's state.
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
