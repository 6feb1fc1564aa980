"""Detects a step that takes too long, and new critical advice, in a run that trains.

Crashes are not detected here: the run's status tells that its process is gone.
"""

from __future__ import annotations

import contextlib
import time
from itertools import pairwise
from pathlib import Path

import msgspec

from tui_trainer.advisor import advice_lifecycle, hardware_rules
from tui_trainer.advisor.advisor import GAP_SECONDS
from tui_trainer.advisor.event_history import read_events
from tui_trainer.advisor.state import AdvisorState
from tui_trainer.contracts.advice import Advice, AdvisorSettings
from tui_trainer.contracts.runs.run import ACTIVE_STATES, Event, RunInfo, RunState
from tui_trainer.store import jsonl
from tui_trainer.store.regular_files import open_regular
from tui_trainer.store.runs import process_identity
from tui_trainer.store.runs.run_folder import RunFolder

# A step counts as hanging after this long at the earliest, however short steps are.
LEAST_SECONDS = 5.0
_MOST_EVENT_BYTES = 1024 * 1024  # newest part of the earlier events that is read
_MOST_EVENTS = 1000
_MOST_CRITICAL = 20
_RECENT_SECONDS = 5.0  # advice reported this shortly before the first check counts as new
_PAUSE_SECONDS = 10.0  # after a longer time between two checks the computer was suspended


class _Row(msgspec.Struct):
    """The fields of a line of `metrics.jsonl` that are used here."""

    step: float | None = None
    time: float | None = None
    step_time_ms: float | None = None


class HangDetector:
    """Checks one run about every second.

    A step hangs if it takes longer than the advisor's limit (20 median steps by default), and at
    least five seconds, while the process is alive and its state is "training". Other training
    loops do not record what they do between two rows, such as saving: for them the limit is at
    least a minute, and twice the longest time between their newest rows. Time without checks, as
    while the computer was suspended, does not count.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.stalled: Advice | None = None
        self.critical: tuple[Advice, ...] = ()
        self._folder = folder
        self._position: tuple[object, ...] | None = None  # the run's at the last check
        self._stuck_since = 0.0  # when it reached that position, on the monotonic clock
        self._checked_at: float | None = None
        self._interval = 0.0  # seconds between the last two checks
        self._limit: tuple[object, float | None] = (None, None)
        self._events = _AdviceEvents(folder.events_file)

    def check(
        self, state: RunState | None, status: str, info: RunInfo | None, now: float | None = None
    ) -> bool:
        """Checks the run; whether `stalled` or `critical` changed. `now` is the monotonic time in
        seconds."""
        now = time.monotonic() if now is None else now
        before = self.stalled, self.critical
        if self._events.read(status):
            self.critical = tuple(self._critical().values())[-_MOST_CRITICAL:]
        settings = (info.job.advisor if info is not None else None) or AdvisorSettings()
        is_local = state is not None and process_identity.is_here(state)
        if state is None or status != "training" or not is_local or not settings.enabled:
            self._position, self.stalled = None, None
        else:
            self.stalled = self._check_step(state, settings, info is not None, now)
        self._interval = now - self._checked_at if self._checked_at is not None else 0.0
        self._checked_at = now
        return (self.stalled, self.critical) != before

    def _critical(self) -> dict[str, Advice]:
        """The critical advice reported since the first check."""
        found = {}
        for event in self._events.fresh:
            if event.kind == "advice":
                for advice in read_events([event]).open:
                    # A hang is in `stalled` while it lasts.
                    if advice.urgency == "critical" and advice.kind != "stalled":
                        found[advice.id] = advice
        return found

    def _check_step(
        self, state: RunState, settings: AdvisorSettings, is_engine: bool, now: float
    ) -> Advice | None:
        process = state.pid, state.start_ticks, state.pid_created
        position = (process, state.step, _size(self._folder.metrics_file))
        if position != self._position:
            first = self._checked_at is None
            self._position = position
            self._stuck_since = now - (self._seconds_stuck(state, is_engine) if first else 0.0)
        elif self._checked_at is not None:
            unseen = now - self._checked_at
            if unseen > max(_PAUSE_SECONDS, 3 * self._interval):
                self._stuck_since += unseen
        stuck_for = now - self._stuck_since
        if stuck_for <= LEAST_SECONDS or state.step == state.total_steps:
            return None
        limit = self._limit_now(position, state, settings, is_engine)
        if limit is None or stuck_for <= limit:
            return None
        return self.stalled or self._advice(state, settings, limit)

    def _seconds_stuck(self, state: RunState, is_engine: bool) -> float:
        """Seconds since the run's last progress at the first check, by the wall clock."""
        newest = [row.time for row in self._rows() if row.time is not None][-1:]
        # Other loops update their state as a heartbeat, also during a hang.
        newest += [state.updated_at] if is_engine else []
        newest += [event.time for event in self._events.newest]
        return max(0.0, time.time() - max(newest)) if newest else 0.0

    def _limit_now(
        self, position: object, state: RunState, settings: AdvisorSettings, is_engine: bool
    ) -> float | None:
        """Seconds that a step may take; None while too few steps of this session were timed."""
        if self._limit[0] != position:
            limit = hardware_rules.hang_limit(self._memory(state), settings)
            if limit is not None:
                limit = max(limit, LEAST_SECONDS if is_engine else self._longest_pause())
            self._limit = position, limit
        return self._limit[1]

    def _longest_pause(self) -> float:
        """Seconds for which another training loop may write nothing: it may record few of its
        steps, and save at any time."""
        times = [row.time for row in self._rows() if row.time is not None]
        gaps = [after - before for before, after in pairwise(times[-hardware_rules.TIMES_KEPT :])]
        return max([GAP_SECONDS, *(2 * gap for gap in gaps)])

    def _memory(self, state: RunState) -> AdvisorState:
        session_start, rows = _session_start(state), self._rows()
        times = [
            row.step_time_ms
            for row in rows
            if row.step_time_ms is not None
            and row.step_time_ms >= 0
            and (row.time or 0) >= session_start
        ]
        # The state is not updated with every step.
        steps = [int(row.step) for row in rows[-1:] if row.step is not None]
        step = max([state.step, *steps])
        return AdvisorState(step=step, step_times=times[-hardware_rules.TIMES_KEPT :])

    def _advice(self, state: RunState, settings: AdvisorSettings, limit: float) -> Advice | None:
        memory = self._memory(state)
        memory.muted = [kind for _, kind in read_events(self._events.kept).mutes]
        reports = advice_lifecycle.report(memory, hardware_rules.stalled(memory, limit), settings)
        return (
            msgspec.structs.replace(reports[0], id=f"stalled-at-{memory.step}") if reports else None
        )

    def _rows(self) -> list[_Row]:
        """The newest rows."""
        with contextlib.suppress(OSError):
            return list(jsonl.newest_records(self._folder.metrics_file, _Row))[::-1]
        return []


class _AdviceEvents:
    """The events about advice, read as they are written."""

    def __init__(self, file: Path) -> None:
        self.kept: list[Event] = []
        self.fresh: list[Event] = []  # those since, or shortly before, the first check
        self.newest: list[Event] = []  # the last event of any kind
        self._file = file
        self._read_to: int | None = None

    def read(self, status: str) -> bool:
        """Reads new events; whether any is about advice. Reading starts once the run is active."""
        if self._read_to is None and status not in ACTIVE_STATES:
            return False
        size = _size(self._file)
        if size < (self._read_to or 0):
            self.kept, self.fresh, self._read_to = [], [], 0
        elif size == self._read_to:
            return False
        # An event is new by its position in the file, whatever the clock; only those before the
        # first check are distinguished by their time.
        since = time.time() - _RECENT_SECONDS if self._read_to is None else None
        data, self._read_to = _read_end(self._file, self._read_to or 0, _MOST_EVENT_BYTES)
        events = jsonl.decode_records(data, Event)
        self.newest = events[-1:] or self.newest
        fresh = [event for event in events if _is_relevant(event)]
        self.kept = [*self.kept, *fresh][-_MOST_EVENTS:]
        new = [event for event in fresh if since is None or event.time >= since]
        self.fresh = [*self.fresh, *new][-_MOST_EVENTS:]
        return bool(fresh)


def _session_start(state: RunState) -> float:
    """The start of the session by the clock as it was set then or is set now, whichever is
    earlier: after the clock was set back, rows of this session must not count as older ones."""
    recorded = state.pid_created or 0.0
    is_known = state.pid is not None and state.start_ticks is not None
    now = (
        process_identity.created(state.pid or 0)
        if is_known and process_identity.is_alive(state)
        else None
    )
    return recorded if now is None else min(recorded, now)


def _is_relevant(event: Event) -> bool:
    return event.kind in ("advice", "resumed") or event.detail.get("command") == "mute"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _read_end(file: Path, start: int, most: int) -> tuple[bytes, int]:
    """The whole lines from `start` on, at most the newest `most` bytes, and their end."""
    try:
        with open_regular(file) as stream:
            begin = max(start, _size(file) - most)
            stream.seek(begin)
            data = stream.read(most + 1)
    except OSError:
        return b"", start
    whole = data.rfind(b"\n") + 1
    skipped = data.find(b"\n") + 1 if begin > start else 0
    return data[skipped:whole], begin + whole
