"""The files of somebody else's run, written so that no fault of the disk reaches the training."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.run import ACTIVE_STATES, Event, RunState, StateName
from tui_trainer.store import atomic
from tui_trainer.store.runs import disk_reserve, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.writer.coerce import plain

# state.json is replaced this often while steps fly by, and as a sign of life this often.
STATE_SECONDS = 0.5
BEAT_SECONDS = 30.0
# What could not be written is tried again after this long.
RETRY_SECONDS = 1.0


class WriteWarnings:
    """Warns once of each kind of fault, and never raises."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, kind: str, message: str) -> None:
        """One `RuntimeWarning` per `kind`; on standard error where warnings are errors."""
        if kind in self._said:
            return
        self._said.add(kind)
        try:
            warnings.warn(f"RunWriter: {message}", RuntimeWarning, stacklevel=4)
        except Exception:  # the user has made warnings errors, but this one must not end a run
            with contextlib.suppress(Exception):
                print(f"RunWriter: {message}", file=sys.stderr)  # noqa: T201


class RunSink:
    """Appends lines to a file; what cannot be written is lost and counted, never raised."""

    def __init__(self, path: Path, complaints: WriteWarnings) -> None:
        self._path = path
        self._complaints = complaints
        self._lines: atomic.LineAppender | None = None
        self._retry_at = 0.0
        self.lost = 0

    def append(self, record: object) -> bool:
        """Whether the line was written."""
        try:
            if self._lines is None:
                if time.monotonic() < self._retry_at:
                    self.lost += 1
                    return False
                self._lines = atomic.LineAppender(self._path)
            self._lines.append(record)
            return True
        except (OSError, TypeError, *BAD_CONTENT) as error:
            self.lost += 1
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self.close()  # opened anew, it closes a line that was written in part
            reason = getattr(error, "strerror", None) or str(error)
            self._complaints.say(
                f"write {self._path.name}",
                f"{self._path} cannot be written ({reason}); training goes on unrecorded",
            )
            return False

    def insist(self) -> None:
        """Tries again at once, though the last try was just now."""
        self._retry_at = 0.0

    def close(self) -> None:
        """Closes the file."""
        if self._lines is not None:
            with contextlib.suppress(OSError):
                self._lines.close()
            self._lines = None


class RunFiles:
    """Metrics, events and state of one run. `state` may be replaced at any time; a thread
    brings it to the disk."""

    def __init__(self, folder: RunFolder, state: RunState, complaints: WriteWarnings) -> None:
        self.folder = folder
        self.state = state
        self._complaints = complaints
        self._metrics = RunSink(folder.metrics_file, complaints)
        self._events = RunSink(folder.events_file, complaints)
        self._announced: str = state.state
        self._written: RunState | None = state
        self._told = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        lacking = disk_reserve.make(folder.path)
        if lacking is not None:
            complaints.say("reserve", f"{folder.path} keeps no space in reserve ({lacking})")
        self._thread = threading.Thread(target=self._beat, name="run-state", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether the run has ended, or belongs to the process that this one was forked from."""
        return self._closed.is_set() or self.state.pid != os.getpid()

    def row(self, row: dict[str, Any]) -> None:
        """A line of `metrics.jsonl`, seen by others when this returns."""
        if self._metrics.append(row):
            self._tell_lost()

    def _tell_lost(self) -> None:
        lost, self._told = self._metrics.lost - self._told, self._metrics.lost
        if lost:
            self.event("warning", f"{lost:,} rows of metrics could not be written and are lost")

    def event(
        self,
        kind: str,
        message: str,
        *,
        id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """A line of `events.jsonl`."""
        values: Any = plain(detail or {})
        step = self.state.step
        self._events.append(
            Event(time=time.time(), step=step, kind=kind, message=message, id=id, detail=values)
        )

    def update(self, **changes: Any) -> None:
        """Changes fields of the state; others see it within `STATE_SECONDS`."""
        self.state = msgspec.structs.replace(self.state, **changes)

    def enter(self, state: StateName, message: str = "") -> None:
        """Enters a state that others see at once; one that lasts is said as an event too."""
        if state not in ACTIVE_STATES:
            self.update(eta_seconds=None)
        self.update(state=state, message=message)
        self.write_state()
        if state not in ("saving", "evaluating", self._announced):
            self._announced = state
            self.event("state", message or state, detail={"state": state})

    def write_state(self) -> None:
        """Replaces `state.json`."""
        with self._lock:
            if self._closed.is_set():
                return
            self._written = state = self.state
            stamped = msgspec.structs.replace(state, updated_at=time.time())
            try:
                run_folder.write_state(self.folder, stamped)
            except (OSError, TypeError, *BAD_CONTENT) as error:
                self._written = None
                reason = getattr(error, "strerror", None) or str(error)
                path = self.folder.state_file
                self._complaints.say("write state.json", f"{path} cannot be written ({reason})")

    def close(self, state: StateName, message: str) -> None:
        """The run's last state; nothing is written after it. On a full disk the space that was in
        reserve holds it and its events."""
        self._events.insist()
        self.enter(state, message)
        self._tell_lost()
        with self._lock:
            self._closed.set()
        self._metrics.close()
        self._events.close()

    def _beat(self) -> None:
        beaten = time.monotonic()
        while not self._closed.wait(STATE_SECONDS):
            if self.state.pid != os.getpid():
                return
            if self.state is not self._written or time.monotonic() - beaten >= BEAT_SECONDS:
                beaten = time.monotonic()
                self.write_state()
