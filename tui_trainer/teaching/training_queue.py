"""The trainings of the queue on disk, and who may work on them."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching import TrainingRecord, TrainingState
from tui_trainer.store import atomic, file_lock, jsonl, paths

JOURNAL = "trainings.jsonl"
OPEN_STATES: frozenset[TrainingState] = frozenset({"queued", "training", "checking"})
UNLEARNED_STATES: frozenset[TrainingState] = frozenset({"refused", "failed", "cancelled"})


class QueueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line: the training as it is from now on.

    `starts` counts how often an engine was started for it; `overridden` that the user wants it
    live though it was refused.
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
        """The journal; absent before the first training."""
        return self.folder / JOURNAL

    def entries(self) -> list[QueueEntry]:
        """Every training as it is now, oldest first; unreadable lines are passed over."""
        with self._reading, contextlib.suppress(OSError):
            status = self.file.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._stamp:
                self._known = _fold(self.file)
                self._stamp = stamp
        return list(self._known.values())

    def get(self, training_id: str) -> QueueEntry:
        """One training. Raises `UserError` where there is none."""
        for entry in self.entries():
            if entry.record.id == training_id:
                return entry
        known = ", ".join(entry.record.id for entry in self.entries()[-5:]) or "none yet"
        raise UserError(f"there is no training {training_id!r}; the newest: {known}")

    def put(self, entry: QueueEntry) -> None:
        """Notes how a training is from now on. Raises `UserError` where it cannot be written."""
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
    """The right to teach: one session at a time has it; it ends with its holder's process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: contextlib.ExitStack | None = None
        self._taking = threading.Lock()

    @property
    def taken(self) -> bool:
        """Whether this session has it."""
        return self._held is not None

    def take(self) -> bool:
        """Takes it where it is free; gives whether this session has it. Raises `UserError`."""
        with self._taking:
            if self._held is None:
                self._held = self._locked()
            return self.taken

    def leave(self) -> None:
        """Gives it back."""
        with self._taking:
            if self._held is not None:
                self._held.close()
                self._held = None

    def _locked(self) -> contextlib.ExitStack | None:
        """What holds the lock until it is closed; None where another session holds it."""
        held = contextlib.ExitStack()
        try:
            paths.make_private_dir(self._folder)
            got = held.enter_context(file_lock.trying(self._folder / "teacher.lock"))
        except OSError as error:
            raise UserError(f"{self._folder} cannot be written: {error.strerror}", 1) from None
        if got:
            return held
        held.close()
        return None


def _fold(file: Path) -> dict[str, QueueEntry]:
    return {entry.record.id: entry for entry in jsonl.read_records(file, QueueEntry).records}
