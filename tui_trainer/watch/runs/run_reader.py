"""Reads one run as it grows: facts, state, metrics, events, hardware samples."""

from __future__ import annotations

import contextlib
import time

from tui_trainer.advisor import event_history
from tui_trainer.advisor.event_history import EventHistory
from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.runs.run import Event
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.watch.error_boundary import caught, file_problem
from tui_trainer.watch.formats import registry
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.record_log import RecordLog
from tui_trainer.watch.runs.run_facts import RunFacts, Signature, signature
from tui_trainer.watch.runs.run_metrics import open_metrics
from tui_trainer.watch.snapshots import RunView
from tui_trainer.watch.tables.list_summary import peek_of
from tui_trainer.watch.tables.source import Source
from tui_trainer.watch.unreadable_runs import unreadable_row, with_problems

EVENTS_KEPT = 5_000
SAMPLES_KEPT = 2_000
_LOG_LINES = 20
RETRY_SECONDS = 2.5  # doubled with each failed reading, up to six times


class RunReader:
    """Reads everything about one run, slice by slice."""

    def __init__(self, location: RunLocation) -> None:
        self.location = location
        self.failure: str | None = None
        self._failures = 0
        self._failed_at: tuple[float, object] = (0.0, None)
        self._view: RunView | None = None
        try:
            self._open()
        except Exception as error:
            self._record_failure(error)

    def _open(self) -> None:
        location, folder = self.location, RunFolder(self.location.path)
        self.facts = RunFacts(location)
        self._metrics: Source = open_metrics(location)
        self._events: RecordLog[Event] | None = None
        self._hardware: RecordLog[HardwareSample] | None = None
        if location.kind == "run":
            self._events = RecordLog(folder.events_file, Event, EVENTS_KEPT)
            self._hardware = RecordLog(
                folder.hardware_file, HardwareSample, SAMPLES_KEPT, thin=True
            )
        self._log_seen: Signature = None
        self._log: tuple[str, ...] = ()
        self._problems: tuple[str, ...] = ()
        self._history_events: tuple[Event, ...] | None = None
        self._event_history: EventHistory | None = None

    def read(self, check_process: bool = True) -> tuple[bool, bool]:
        """Reads what is new, at most a slice of the metrics; whether anything changed, and whether
        there are more metrics.

        Never raises. A file that cannot be read becomes a warning. After an unexpected error the
        run has a `failure`, keeps what was read, and is read again from the start once its files
        change, at increasing intervals.
        """
        if self.failure is not None and not self._may_retry():
            return False, False
        try:
            return self._read(check_process)
        except Exception as error:
            self._record_failure(error)
            return True, False

    def _may_retry(self) -> bool:
        """Starts again if the files have changed since the failure; whether it did."""
        wait = RETRY_SECONDS * 2.0 ** min(self._failures, 6)
        if time.monotonic() - self._failed_at[0] < wait:
            return False
        try:
            if self._failed_at[1] == self._signatures():
                return False
            self._open()
        except Exception as error:
            self._record_failure(error)
            return False
        self.failure, self._view = None, None
        return True

    def _record_failure(self, error: Exception) -> None:
        self.failure = caught(error, self.location.path)
        self._failures += 1
        self._view = None
        seen: object = None
        with contextlib.suppress(Exception):
            seen = self._signatures()
            self.facts.read()  # the state may still be readable
        self._failed_at = time.monotonic(), seen

    def _signatures(self) -> object:
        folder = self.facts.folder
        files = (folder.info_file, folder.state_file, folder.events_file, folder.hardware_file)
        ours = map(signature, files) if self.location.kind == "run" else ()
        return registry.stamp(self.location), *ours

    def _read(self, check_process: bool) -> tuple[bool, bool]:
        changed, more, problems = False, False, []
        try:
            changed, more = self._metrics.read()
        except OSError as error:
            problems.append(file_problem(error, self.location.metrics))
        for log in (self._events, self._hardware):
            if log is not None:
                try:
                    changed |= log.read()
                except OSError as error:
                    problems.append(file_problem(error, log.path))
        if tuple(problems) != self._problems:
            self._problems, changed = tuple(problems), True
        if self.location.kind != "run":
            self.facts.source = self._metrics.facts()
        # After the metrics, so that all rows are known once the state is "completed".
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
                    self._record_failure(error)
                self._view = RunView(unreadable_row(self.location, self.failure or ""))
        return self._view

    def _make_view(self) -> RunView:
        history, source = self._metrics.history, self.facts.source
        events = self._events.records if self._events is not None else ()
        own_advice = self._own_advice(events)
        train, evals = history.train.table(), history.evals.table()
        row = self.facts.summary(peek_of(history, source))
        messages = () if self.failure is None else (f"cannot be read: {self.failure}",)
        row = with_problems(row, *messages, *self._problems)
        return RunView(
            summary=row,
            info=self.facts.info,
            state=self.facts.state,
            train=train,
            evals=evals,
            events=events,
            hardware=self._hardware.records if self._hardware is not None else (),
            commandable=self.facts.is_live_here(),
            warnings=tuple(self._warnings()),
            log_tail=self._log,
            resumed_at=tuple(to for _, to in history.rewinds),
            config=self.facts.config if self.location.kind == "run" else source.config,
            lacks=source.lacks,
            advice=(*own_advice.advice, *self._stalled()) if own_advice is not None else None,
            applied=own_advice.applied if own_advice is not None else frozenset(),
        )

    def _stalled(self) -> tuple[Advice, ...]:
        """The hang, which the run's own advisor cannot report while it waits for the step."""
        stalled = self.facts.hang_detector.stalled
        return () if stalled is None else (stalled,)

    def _own_advice(self, events: tuple[Event, ...]) -> EventHistory | None:
        """The advice of the run's own advisor; None where it had none."""
        if events is not self._history_events:
            self._history_events = events
            advised = any(
                event.kind == "advice" or (event.kind == "setup" and event.detail.get("advised"))
                for event in events
            )
            self._event_history = event_history.read_events(events) if advised else None
        return self._event_history

    def _warnings(self) -> list[str]:
        messages = [f"cannot be read: {self.failure}"] if self.failure is not None else []
        messages += [*self.facts.warnings(), *self._metrics.warnings(), *self._problems]
        history = self._metrics.history
        # A run of this program has an event for each resume.
        if history.rewinds and self.location.kind != "run":
            back, to = history.rewinds[-1]
            times = (
                "once"
                if history.rewind_count == 1
                else f"{formats.count(history.rewind_count)} times"
            )
            messages.append(
                f"{self.location.metrics.name}: steps went back {times}, last from "
                f"{formats.count(back)} to {formats.count(to)}; the later rows are kept"
            )
        for log in (self._events, self._hardware):
            if log is not None and log.unreadable:
                first = f"the first is line {formats.count(log.first_unreadable)}: {log.reason}"
                lines = formats.plural(log.unreadable, "line")
                messages.append(f"{log.path.name}: {lines} cannot be read ({first})")
        if self._events is not None and self._events.forgotten:
            kept = formats.count(EVENTS_KEPT)
            messages.append(f"{self._events.path.name}: only the newest {kept} events are shown")
        return messages

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
