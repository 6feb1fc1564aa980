"""The files of a run that another program trains.

Write errors warn and never reach the training loop.
"""

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
from tui_trainer.contracts.runs.run import ACTIVE_STATES, Event, RunState, StateName
from tui_trainer.store import atomic
from tui_trainer.store.runs import disk_reserve, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.writer.coerce import plain

STATE_SECONDS = 0.5  # least time between two updates of state.json while steps finish
BEAT_SECONDS = 30.0  # most time between two updates, so that others see that the process lives
RETRY_SECONDS = 1.0  # until a file that could not be written is tried again


class WriteWarnings:
    """Warns once of each kind of fault, and never raises."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def warn(self, kind: str, message: str) -> None:
        """Emit one `RuntimeWarning` per `kind`, or print it if warnings are errors."""
        if kind in self._warned:
            return
        self._warned.add(kind)
        try:
            warnings.warn(f"RunWriter: {message}", RuntimeWarning, stacklevel=4)
        except Exception:  # warnings are errors, but this one must not end the training
            with contextlib.suppress(Exception):
                print(f"RunWriter: {message}", file=sys.stderr)  # noqa: T201


class RunSink:
    """Appends lines to a file; a line that cannot be written is counted in `lost`."""

    def __init__(self, path: Path, write_warnings: WriteWarnings) -> None:
        self._path = path
        self._warnings = write_warnings
        self._lines: atomic.LineAppender | None = None
        self._retry_at = 0.0
        self.lost = 0

    def append(self, record: object) -> bool:
        """Append a line; returns whether it was written."""
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
            self.close()  # opening the file again ends a partly written line
            reason = getattr(error, "strerror", None) or str(error)
            self._warnings.warn(
                f"write {self._path.name}",
                f"{self._path} cannot be written ({reason}); training continues without recording",
            )
            return False

    def retry_now(self) -> None:
        """Let the next line be tried even if the last one failed a moment ago."""
        self._retry_at = 0.0

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            with contextlib.suppress(OSError):
                self._lines.close()
            self._lines = None


class RunFiles:
    """Metrics, events and state of one run. `state` may be replaced at any time; a thread writes
    it to the disk."""

    def __init__(self, folder: RunFolder, state: RunState, write_warnings: WriteWarnings) -> None:
        self.folder = folder
        self.state = state
        self._warnings = write_warnings
        self._metrics = RunSink(folder.metrics_file, write_warnings)
        self._events = RunSink(folder.events_file, write_warnings)
        self._announced: str = state.state
        self._written: RunState | None = state
        self._reported = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        lacking = disk_reserve.make(folder.path)
        if lacking is not None:
            write_warnings.warn(
                "reserve", f"no disk space can be reserved in {folder.path} ({lacking})"
            )
        self._thread = threading.Thread(target=self._write_regularly, name="run-state", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether the run has ended, or belongs to the process that forked this one."""
        return self._closed.is_set() or self.state.pid != os.getpid()

    def row(self, row: dict[str, Any]) -> None:
        """Append a line to `metrics.jsonl`; other processes see it when this returns."""
        if self._metrics.append(row):
            self._report_lost()

    def _report_lost(self) -> None:
        lost, self._reported = self._metrics.lost - self._reported, self._metrics.lost
        if lost:
            rows = formats.plural(lost, "row")
            self.event("warning", f"{rows} of metrics could not be written and are lost")

    def event(
        self,
        kind: str,
        message: str,
        *,
        id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Append a line to `events.jsonl`."""
        values: Any = plain(detail or {})
        step = self.state.step
        self._events.append(
            Event(time=time.time(), step=step, kind=kind, message=message, id=id, detail=values)
        )

    def update(self, **changes: Any) -> None:
        """Change fields of the state; other processes see it within `STATE_SECONDS`."""
        self.state = msgspec.structs.replace(self.state, **changes)

    def enter(self, state: StateName, message: str = "") -> None:
        """Enter a state and write it at once; one that lasts is also recorded as an event."""
        if state not in ACTIVE_STATES:
            self.update(eta_seconds=None)
        self.update(state=state, message=message)
        self.write_state()
        if state not in ("saving", "evaluating", self._announced):
            self._announced = state
            self.event("state", message or state, detail={"state": state})

    def write_state(self) -> None:
        """Replace `state.json`."""
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
                self._warnings.warn("write state.json", f"{path} cannot be written ({reason})")

    def close(self, state: StateName, message: str) -> None:
        """Write the run's last state; nothing is written after it. On a full disk it uses the
        reserved space."""
        self._events.retry_now()
        self.enter(state, message)
        self._report_lost()
        with self._lock:
            self._closed.set()
        self._metrics.close()
        self._events.close()

    def _write_regularly(self) -> None:
        written_at = time.monotonic()
        while not self._closed.wait(STATE_SECONDS):
            if self.state.pid != os.getpid():
                return
            if self.state is not self._written or time.monotonic() - written_at >= BEAT_SECONDS:
                written_at = time.monotonic()
                self.write_state()
