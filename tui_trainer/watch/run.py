"""One run read as it goes: facts, state, metrics, events, hardware."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.run import ACTIVE_STATES, Event, RunInfo, RunState
from tui_trainer.store.runs import STALE_SECONDS, RunFolder, status_of
from tui_trainer.watch.metrics import MetricsFile, lines
from tui_trainer.watch.records import RecordLog
from tui_trainer.watch.view import RunKind, RunSummary, RunView

EVENTS_KEPT = 5_000
SAMPLES_KEPT = 2_000
_LOG_LINES = 20
Signature = tuple[int, int, int] | None


@dataclass(frozen=True)
class RunPlace:
    """Where a run lies and what it is called: `id` is its path below the watched folder."""

    path: Path
    kind: RunKind
    id: str
    name: str

    @property
    def metrics(self) -> Path:
        """The file of metrics."""
        return RunFolder(self.path).metrics_file if self.kind == "run" else self.path


class RunFacts:
    """`run.json` and `state.json`, read again only when they changed, and the status."""

    def __init__(self, place: RunPlace) -> None:
        self.place = place
        self.folder = RunFolder(place.path)
        self.info: RunInfo | None = None
        self.state: RunState | None = None
        self.status = "unknown"
        self._info_seen: Signature = (0, 0, 0)
        self._state_seen: Signature = (0, 0, 0)

    def read(self, check_process: bool = True) -> bool:
        """Whether anything changed; with `check_process` also whether the process still runs."""
        if self.place.kind == "jsonl":
            return self._set_status(_age_status(self.place.path))
        changed = self._read_info()
        changed |= self._read_state()
        if changed or check_process:
            changed |= self._set_status(status_of(self.state))
        return changed

    def oddities(self) -> list[str]:
        """Files of ours that are there but cannot be read as what they are."""
        if self.place.kind == "jsonl":
            return []
        said = []
        if self._info_seen is not None and self.info is None:
            said.append("run.json: not readable as a run's facts")
        if self._state_seen is not None and self.state is None:
            said.append("state.json: not readable as a run's state")
        return said

    def is_live_here(self) -> bool:
        """Whether a process of ours on this host works on the run."""
        state = self.state
        return (
            state is not None
            and self.status in ACTIVE_STATES
            and state.host in (None, socket.gethostname())
        )

    def summary(self, step: float | None, loss: float | None, best: float | None) -> RunSummary:
        """One row of the list, with what the metrics say."""
        info, state, place = self.info, self.state, self.place
        if state is not None and state.best_val_loss is not None:
            best = state.best_val_loss
        newest = int(step) if step is not None and abs(step) < 2**62 else None
        return RunSummary(
            path=place.path,
            id=info.id if info is not None else place.id,
            name=info.name if info is not None else place.name,
            kind=place.kind,
            status=self.status,
            step=state.step if state is not None else newest,
            total_steps=state.total_steps if state is not None else None,
            loss=loss,
            best_val_loss=best,
            tokens_per_second=state.tokens_per_second if state is not None else None,
            eta_seconds=state.eta_seconds if state is not None else None,
            created_at=info.created_at if info is not None else None,
            updated_at=state.updated_at if state is not None else _modified(place.metrics),
            message=state.message if state is not None else "",
        )

    def _read_info(self) -> bool:
        seen = signature(self.folder.info_file)
        if seen == self._info_seen and (self.info is not None or seen is None):
            return False
        # One that could not be read is tried again: its permissions leave no trace in its times.
        changed, self._info_seen = seen != self._info_seen, seen
        self.info = self.folder.info()
        return changed or self.info is not None

    def _read_state(self) -> bool:
        seen = signature(self.folder.state_file)
        if seen == self._state_seen and (self.state is not None or seen is None):
            return False
        changed, self._state_seen = seen != self._state_seen, seen
        fresh = self.folder.state()
        self.state = fresh or self.state
        return changed or fresh is not None

    def _set_status(self, status: str) -> bool:
        changed = status != self.status
        self.status = status
        return changed


class RunReader:
    """Everything about one run, read piece by piece."""

    def __init__(self, place: RunPlace) -> None:
        self.place = place
        self.facts = RunFacts(place)
        self._metrics = MetricsFile(place.metrics)
        folder = RunFolder(place.path)
        self._events: RecordLog[Event] | None = None
        self._hardware: RecordLog[HardwareSample] | None = None
        if place.kind == "run":
            self._events = RecordLog(folder.events_file, Event, EVENTS_KEPT)
            self._hardware = RecordLog(folder.hardware_file, HardwareSample, SAMPLES_KEPT)
        self._view: RunView | None = None
        self._log_seen: Signature = None
        self._log: tuple[str, ...] = ()
        self._problem: str | None = None

    def read(self, check_process: bool = True) -> tuple[bool, bool]:
        """Reads what arrived, a slice of the metrics at most: whether anything changed, and
        whether more metrics wait. A file that cannot be read becomes an oddity."""
        changed, more, problem = False, False, None
        try:
            changed, more = self._metrics.read()
            for log in (self._events, self._hardware):
                if log is not None:
                    changed |= log.read()
        except OSError as error:
            name = Path(error.filename).name if error.filename else "a file"
            problem = f"{name}: {error.strerror or 'cannot be read'}"
        if problem != self._problem:
            self._problem, changed = problem, True
        # After the metrics: a state that says "completed" then has all its rows beside it.
        changed |= self.facts.read(check_process)
        if not more:
            changed |= self._metrics.settle()
            changed |= self._read_log()
        if changed:
            self._view = None
        return changed, more

    def view(self) -> RunView:
        """The run as read so far; the same object until something changes."""
        if self._view is None:
            self._view = self._make_view()
        return self._view

    def _make_view(self) -> RunView:
        history = self._metrics.history
        train, evals = history.train.table(), history.evals.table()
        best = evals.column("val_loss")
        lowest = float(np.fmin.reduce(best)) if len(best) else None
        steps = [table.column("step")[-1] for table in (train, evals) if len(table)]
        return RunView(
            summary=self.facts.summary(
                float(max(steps)) if steps else None,
                train.last("loss"),
                lowest if lowest is not None and np.isfinite(lowest) else None,
            ),
            info=self.facts.info,
            state=self.facts.state,
            train=train,
            evals=evals,
            events=self._events.records if self._events is not None else (),
            hardware=self._hardware.records if self._hardware is not None else (),
            commandable=self.facts.is_live_here(),
            oddities=tuple(self._oddities()),
            log_tail=self._log,
            resumed_at=tuple(to for _, to in history.rewinds),
        )

    def _oddities(self) -> list[str]:
        said = [*self.facts.oddities(), *self._metrics.oddities()]
        if self._problem is not None:
            said.append(self._problem)
        history = self._metrics.history
        # A run of ours says itself that it was resumed, by an event.
        if history.rewinds and self.place.kind == "jsonl":
            back, to = history.rewinds[-1]
            times = "once" if history.rewind_count == 1 else f"{history.rewind_count:,} times"
            said.append(
                f"{self.place.metrics.name}: steps went back {times}, last from {back:,.0f} to "
                f"{to:,.0f}; the later rows stand"
            )
        for log in (self._events, self._hardware):
            if log is not None and log.unreadable:
                said.append(f"{log.path.name}: {lines(log.unreadable)} not readable")
        if self._events is not None and self._events.forgotten:
            said.append(f"{self._events.path.name}: only the newest {EVENTS_KEPT:,} are kept")
        return said

    def _read_log(self) -> bool:
        if self.facts.status not in ("failed", "crashed"):
            changed, self._log, self._log_seen = bool(self._log), (), None
            return changed
        seen = signature(self.facts.folder.log_file)
        if seen == self._log_seen:
            return False
        self._log_seen = seen
        self._log = tuple(self.facts.folder.log_tail(_LOG_LINES))
        return True


def signature(path: Path) -> Signature:
    """What changes when a file does: inode, size, time of change; None where it is absent."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _age_status(path: Path) -> str:
    """A foreign file says nothing of its writer: still growing (`unknown`), or `recorded`."""
    modified = _modified(path)
    if modified is None or time.time() - modified < STALE_SECONDS:
        return "unknown"
    return "recorded"


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
