"""One run read as it goes: facts, state, metrics, events, hardware."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tui_trainer.advisor.event_history import EventHistory
from tui_trainer.advisor.event_history import told as hear
from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.run import ACTIVE_STATES, Event, LoopInfo, RunBasics, RunInfo, RunState
from tui_trainer.store.runs import process_identity
from tui_trainer.store.runs.run_folder import STALE_SECONDS, RunFolder, status_of
from tui_trainer.watch.error_boundary import caught, file_problem
from tui_trainer.watch.formats import registry
from tui_trainer.watch.runs.flat_config import flat_config
from tui_trainer.watch.runs.hang_detector import HangDetector
from tui_trainer.watch.runs.record_log import RecordLog
from tui_trainer.watch.snapshots import RunKind, RunSummary, RunView
from tui_trainer.watch.tables.list_summary import peek_of
from tui_trainer.watch.tables.metrics_file import lines
from tui_trainer.watch.tables.source import Source, SourceFacts, SourcePeek
from tui_trainer.watch.unreadable_runs import record_problem, unreadable_row, with_problems

EVENTS_KEPT = 5_000
SAMPLES_KEPT = 2_000
_LOG_LINES = 20
RETRY_SECONDS = 2.5  # doubled with each reading of a run that cannot be read, six times
Signature = tuple[int, int, int] | None


@dataclass(frozen=True)
class RunPlace:
    """Where a run lies and what it is called: `id` is its path below the watched folder.

    A run in a database has the database's path with `#` and `part`, its id there.
    """

    path: Path
    kind: RunKind
    id: str
    name: str
    part: str = ""

    @property
    def metrics(self) -> Path:
        """The file of metrics, or the folder of their files."""
        if self.kind == "run":
            return RunFolder(self.path).metrics_file
        if self.part:
            return Path(str(self.path).partition("#run=")[0])
        return self.path


class RunFacts:
    """`run.json` and `state.json`, read again only when they changed, and the status."""

    def __init__(self, place: RunPlace) -> None:
        self.place = place
        self.folder = RunFolder(place.path)
        self.info: RunInfo | None = None
        self.loop: LoopInfo | None = None
        self.state: RunState | None = None
        self.status = "unknown"
        self.config: Mapping[str, Any] = {}
        self.told = SourceFacts()  # what a source of another tool says
        self.tool = registry.tool(place)
        self.vigil = HangDetector(self.folder)
        self._info_problem: str | None = None
        self._state_problem: str | None = None
        self._info_seen: Signature = (0, 0, 0)
        self._state_seen: Signature = (0, 0, 0)

    def read(self, check_process: bool = True) -> bool:
        """Whether anything changed; with `check_process` also whether the process still runs."""
        if self.place.kind != "run":
            return self._set_status(self.told.status or _age_status(self.place))
        changed = self._read_info()
        changed |= self._read_state()
        if changed or check_process:
            changed |= self._set_status(self._status_now())
            changed |= self.vigil.look(self.state, self.status, self.info)
        return changed

    def _status_now(self) -> str:
        status = status_of(self.state)
        # The process may have written its last state and gone between the two looks.
        return status_of(self.state) if status == "crashed" and self._read_state() else status

    def oddities(self) -> list[str]:
        """Files of ours that are there but cannot be read as what they are."""
        return [said for said in (self._info_problem, self._state_problem) if said is not None]

    @property
    def basics(self) -> RunBasics | None:
        """What is known of any run folder: of our engine, or of a `RunWriter`."""
        return self.info or self.loop

    def is_live_here(self) -> bool:
        """Whether a process on this host works on the run and takes commands."""
        state = self.state
        return (
            state is not None
            and self.status in ACTIVE_STATES
            and process_identity.is_here(state)
            and state.commands != ()
        )

    def summary(self, seen: SourcePeek) -> RunSummary:
        """One row of the list, with what the metrics say."""
        info, state, place = self.basics, self.state, self.place
        step = seen.step
        newest = int(step) if step is not None and abs(step) < 2**62 else None
        row = RunSummary(
            path=place.path,
            id=place.id,
            name=seen.name or place.name,
            kind=place.kind,
            status=self.status,
            step=newest,
            total_steps=seen.total_steps,
            loss=seen.loss,
            best_val_loss=seen.best_val_loss,
            tokens_per_second=seen.tokens_per_second,
            eta_seconds=seen.eta_seconds,
            created_at=seen.created_at,
            updated_at=_modified(place) if state is None else state.updated_at,
            message=seen.message,
            learning_rate=seen.learning_rate,
            best_loss=seen.best_loss,
            spark=seen.spark,
            trend=seen.trend,
            epoch=seen.epoch,
            tool=self.tool,
            commandable=self.is_live_here(),
            stalled=self.vigil.stalled,
            critical=self.vigil.critical,
            problem="; ".join(self.oddities()),
        )
        if info is not None:
            row = replace(row, id=info.id, name=info.name, created_at=info.created_at)
        return row if state is None else _with_state(row, state)

    def _read_info(self) -> bool:
        seen = signature(self.folder.info_file)
        if seen == self._info_seen and (self.basics is not None or seen is None):
            return False
        # One that could not be read is tried again: its permissions leave no trace in its times.
        changed, self._info_seen = seen != self._info_seen, seen
        self.info = self.folder.info()
        self.loop = self.folder.loop_info() if self.info is None else None
        self.config = flat_config(self.basics)
        if self.loop is not None:
            self.tool = self.loop.program
        lost = self.basics is None and seen is not None
        self._info_problem = record_problem(self.folder.info_file, RunBasics) if lost else None
        return changed or self.basics is not None

    def _read_state(self) -> bool:
        seen = signature(self.folder.state_file)
        if seen == self._state_seen and (self.state is not None or seen is None):
            return False
        changed, self._state_seen = seen != self._state_seen, seen
        fresh = self.folder.state()
        self.state = fresh or self.state
        lost = fresh is None and seen is not None
        self._state_problem = record_problem(self.folder.state_file, RunState) if lost else None
        return changed or fresh is not None

    def _set_status(self, status: str) -> bool:
        changed = status != self.status
        self.status = status
        return changed


class RunReader:
    """Everything about one run, read piece by piece."""

    def __init__(self, place: RunPlace) -> None:
        self.place = place
        self.failure: str | None = None
        self._failures = 0
        self._failed_at: tuple[float, object] = (0.0, None)
        self._view: RunView | None = None
        try:
            self._begin()
        except Exception as error:
            self._fail(error)

    def _begin(self) -> None:
        place, folder = self.place, RunFolder(self.place.path)
        self.facts = RunFacts(place)
        self._metrics: Source = registry.open_source(place)
        self._events: RecordLog[Event] | None = None
        self._hardware: RecordLog[HardwareSample] | None = None
        if place.kind == "run":
            self._events = RecordLog(folder.events_file, Event, EVENTS_KEPT)
            self._hardware = RecordLog(
                folder.hardware_file, HardwareSample, SAMPLES_KEPT, thin=True
            )
        self._log_seen: Signature = None
        self._log: tuple[str, ...] = ()
        self._problems: tuple[str, ...] = ()
        self._heard_of: tuple[Event, ...] | None = None
        self._heard: EventHistory | None = None

    def read(self, check_process: bool = True) -> tuple[bool, bool]:
        """Reads what arrived, a slice of the metrics at most: whether anything changed, and
        whether more metrics wait. Never raises: a file that cannot be read becomes an oddity; after
        an error that nobody foresaw the run has a `failure`, keeps what was read, and is read anew
        once its files change, though not all the time."""
        if self.failure is not None and not self._try_again():
            return False, False
        try:
            return self._read(check_process)
        except Exception as error:
            self._fail(error)
            return True, False

    def _try_again(self) -> bool:
        """Begins anew where the files have changed since the failure."""
        wait = RETRY_SECONDS * 2.0 ** min(self._failures, 6)
        if time.monotonic() - self._failed_at[0] < wait:
            return False
        try:
            if self._failed_at[1] == self._signatures():
                return False
            self._begin()
        except Exception as error:
            self._fail(error)
            return False
        self.failure, self._view = None, None
        return True

    def _fail(self, error: Exception) -> None:
        self.failure = caught(error, self.place.path)
        self._failures += 1
        self._view = None
        seen: object = None
        with contextlib.suppress(Exception):
            seen = self._signatures()
            self.facts.read()  # where the metrics fail, the state may still be known
        self._failed_at = time.monotonic(), seen

    def _signatures(self) -> object:
        folder = self.facts.folder
        files = (folder.info_file, folder.state_file, folder.events_file, folder.hardware_file)
        ours = map(signature, files) if self.place.kind == "run" else ()
        return registry.stamp(self.place), *ours

    def _read(self, check_process: bool) -> tuple[bool, bool]:
        changed, more, problems = False, False, []
        try:
            changed, more = self._metrics.read()
        except OSError as error:
            problems.append(file_problem(error, self.place.metrics))
        for log in (self._events, self._hardware):
            if log is not None:
                try:
                    changed |= log.read()
                except OSError as error:
                    problems.append(file_problem(error, log.path))
        if tuple(problems) != self._problems:
            self._problems, changed = tuple(problems), True
        if self.place.kind != "run":
            self.facts.told = self._metrics.facts()
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
            try:
                self._view = self._make_view()
            except Exception as error:
                if self.failure is None:
                    self._fail(error)
                self._view = RunView(unreadable_row(self.place, self.failure or ""))
        return self._view

    def _make_view(self) -> RunView:
        history, told = self._metrics.history, self.facts.told
        events = self._events.records if self._events is not None else ()
        heard = self._hear(events)
        train, evals = history.train.table(), history.evals.table()
        row = self.facts.summary(peek_of(history, told))
        said = () if self.failure is None else (f"cannot be read: {self.failure}",)
        row = with_problems(row, *said, *self._problems)
        return RunView(
            summary=row,
            info=self.facts.info,
            state=self.facts.state,
            train=train,
            evals=evals,
            events=events,
            hardware=self._hardware.records if self._hardware is not None else (),
            commandable=self.facts.is_live_here(),
            oddities=tuple(self._oddities()),
            log_tail=self._log,
            resumed_at=tuple(to for _, to in history.rewinds),
            config=self.facts.config if self.place.kind == "run" else told.config,
            lacks=told.lacks,
            advice=(*heard.advice, *self._stalled()) if heard is not None else None,
            applied=heard.applied if heard is not None else frozenset(),
        )

    def _stalled(self) -> tuple[Advice, ...]:
        """What the run's own advisor cannot say, for it waits for the step too."""
        stalled = self.facts.vigil.stalled
        return () if stalled is None else (stalled,)

    def _hear(self, events: tuple[Event, ...]) -> EventHistory | None:
        """What the run's own advisor said; None where it had none."""
        if events is not self._heard_of:
            self._heard_of = events
            advised = any(
                event.kind == "advice" or (event.kind == "setup" and event.detail.get("advised"))
                for event in events
            )
            self._heard = hear(events) if advised else None
        return self._heard

    def _oddities(self) -> list[str]:
        said = [f"cannot be read: {self.failure}"] if self.failure is not None else []
        said += [*self.facts.oddities(), *self._metrics.oddities(), *self._problems]
        history = self._metrics.history
        # A run of ours says itself that it was resumed, by an event.
        if history.rewinds and self.place.kind != "run":
            back, to = history.rewinds[-1]
            times = "once" if history.rewind_count == 1 else f"{history.rewind_count:,} times"
            said.append(
                f"{self.place.metrics.name}: steps went back {times}, last from {back:,.0f} to "
                f"{to:,.0f}; the later rows stand"
            )
        for log in (self._events, self._hardware):
            if log is not None and log.unreadable:
                first = f"the first is line {log.first_unreadable:,}: {log.reason}"
                said.append(f"{log.path.name}: {lines(log.unreadable)} not readable ({first})")
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


def _age_status(place: RunPlace) -> str:
    """Others' files say nothing of their writer: still growing (`unknown`), or `recorded`."""
    modified = _modified(place)
    if modified is None or abs(time.time() - modified) < STALE_SECONDS:  # a clock may be set back
        return "unknown"
    return "recorded"


def _modified(place: RunPlace) -> float | None:
    """When any file of the run's metrics changed last, in seconds since the epoch."""
    seen = registry.stamp(place)
    return seen[2] / 1e9 if seen else None


def _with_state(row: RunSummary, state: RunState) -> RunSummary:
    """A row in which a run folder's own word counts more than its metrics."""
    best = row.best_val_loss if state.best_val_loss is None else state.best_val_loss
    return replace(
        row,
        step=state.step,
        total_steps=state.total_steps,
        best_val_loss=best,
        tokens_per_second=state.tokens_per_second,
        eta_seconds=state.eta_seconds,
        message=state.message,
    )
