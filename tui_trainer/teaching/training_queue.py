"""The queue of trainings on disk, and the lock of the session that processes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.teaching import TrainingRecord, TrainingState
from tui_trainer.store import atomic, paths

JOURNAL = "trainings.jsonl"
OPEN_STATES: frozenset[TrainingState] = frozenset({"queued", "training", "checking"})
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
                self._known = _fold(self.file.read_bytes())
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
        self._descriptor: int | None = None
        self._acquiring = threading.Lock()

    @property
    def held(self) -> bool:
        """Whether this session holds it."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Acquires it if it is free; whether this session holds it. Raises `UserError`."""
        with self._acquiring:
            if self._descriptor is None:
                self._descriptor = self._locked()
            return self.held

    def release(self) -> None:
        """Releases it."""
        with self._acquiring:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _locked(self) -> int | None:
        """The open lock file, or None where another session holds it."""
        try:
            paths.make_private_dir(self._folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._folder / "teacher.lock", flags, atomic.PRIVATE)
        except OSError as error:
            raise UserError(f"{self._folder} cannot be written: {error.strerror}", 1) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor


def _fold(data: bytes) -> dict[str, QueueEntry]:
    decoder = msgspec.json.Decoder(QueueEntry)
    known: dict[str, QueueEntry] = {}
    for line in data.split(b"\n"):
        with contextlib.suppress(*BAD_CONTENT):
            entry = decoder.decode(line)
            known[entry.record.id] = entry
    return known
