"""The queue of trainings on disk, and the lock of the session that processes it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.contracts.teaching.training import TrainingRecord, TrainingState
from tui_trainer.store import atomic, file_lock, jsonl, paths
from tui_trainer.store.runs.run_folder import RunFolder

JOURNAL = "trainings.jsonl"
UNLEARNED_STATES: frozenset[TrainingState] = frozenset({"refused", "failed", "cancelled"})


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file: the new state of a training.

    `starts`: how often an engine was started for it. `overridden`: the user activates its adapter
    although it was refused.
    """

    record: TrainingRecord
    starts: int = 0
    overridden: bool = False


class TrainingQueue:
    """`trainings.jsonl`: every change of a training is a line, on the disk when `put` returns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reading = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._known: dict[str, QueueEntry] = {}

    @property
    def file(self) -> Path:
        """The file; absent before the first training."""
        return self.folder / JOURNAL

    def entries(self) -> list[QueueEntry]:
        """The newest state of every training, oldest first; unreadable lines are skipped."""
        with self._reading, contextlib.suppress(OSError):
            status = self.file.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._stamp:
                self._known = _fold(self.file)
                self._stamp = stamp
        return list(self._known.values())

    def get(self, training_id: str) -> QueueEntry:
        """One training. Raises `UserError` for an unknown id."""
        for entry in self.entries():
            if entry.record.id == training_id:
                return entry
        known = ", ".join(entry.record.id for entry in self.entries()[-5:]) or "none yet"
        raise UserError(f"there is no training {training_id!r}; the newest: {known}")

    def put(self, entry: QueueEntry) -> None:
        """Appends the new state of a training. Raises `UserError` where it cannot be written."""
        try:
            paths.make_private_dir(self.folder)
            fresh = not self.file.exists()
            with atomic.appending(self.file) as lines:
                lines.append(entry, durable=True)
            if fresh:
                atomic.sync_dir(self.folder)
        except OSError as error:
            raise UserError(f"{self.file} cannot be written: {error.strerror}", 1) from None


class TrainerLock:
    """A lock that one session at a time holds to process the queue; it ends with the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: contextlib.ExitStack | None = None
        self._acquiring = threading.Lock()

    @property
    def held(self) -> bool:
        """Whether this session holds it."""
        return self._held is not None

    def acquire(self) -> bool:
        """Acquires it if it is free; whether this session holds it. Raises `UserError`."""
        with self._acquiring:
            if self._held is None:
                self._held = self._locked()
            return self.held

    def release(self) -> None:
        """Releases it."""
        with self._acquiring:
            if self._held is not None:
                self._held.close()
                self._held = None

    def _locked(self) -> contextlib.ExitStack | None:
        """What holds the lock until it is closed; None where another session holds it."""
        held = contextlib.ExitStack()
        try:
            paths.make_private_dir(self._folder)
            got = held.enter_context(file_lock.try_lock(self._folder / "teacher.lock"))
        except OSError as error:
            raise UserError(f"{self._folder} cannot be written: {error.strerror}", 1) from None
        if got:
            return held
        held.close()
        return None


def _fold(file: Path) -> dict[str, QueueEntry]:
    return {entry.record.id: entry for entry in jsonl.read_records(file, QueueEntry).records}


def with_progress(record: TrainingRecord, state: RunState | None = None) -> TrainingRecord:
    """The record with the progress of its run while it trains: `state`, or as its run folder has
    it."""
    if record.state != "training" or record.run_path is None:
        return record
    state = state or RunFolder(Path(record.run_path)).state()
    if state is None:
        return record
    return msgspec.structs.replace(
        record,
        step=state.step,
        total_steps=state.total_steps,
        learned=state.learned,
        taught=state.taught,
        eta_seconds=state.eta_seconds,
        message=state.message,
    )
