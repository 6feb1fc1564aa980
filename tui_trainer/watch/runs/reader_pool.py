"""The runs that are read completely: the focused one, and those it is compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tui_trainer.watch.formats import registry
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.watch.snapshots import RunView

# The files of a run folder whose change causes a reading. The others are read along with them, or
# at the next check.
_FILES = frozenset({"run.json", "metrics.jsonl", "events.jsonl"})
# While a long run is loaded, a view is published after this time, then after longer times.
LOADING_SECONDS = 0.1
_LONGEST_SECONDS = 0.25
OTHERS_SECONDS = 0.03
# A pause after so much work, in which other threads get the interpreter.
_WORK_SECONDS, _PAUSE_SECONDS = 0.004, 0.0001
_READERS_KEPT = 3


class ReaderPool:
    """The readers of the focused run and of the others, each within a time budget.

    A run that cannot be read has the reason in its own view (see `RunReader.failure`).
    """

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self.focus: Path | None = None
        self.others: tuple[Path, ...] = ()
        self.loading = True
        self.loading_others = False
        self._stopping = stopping
        self._budget = LOADING_SECONDS
        self._readers: dict[Path, RunReader] = {}

    def select(self, focus: RunLocation | None, others: list[RunLocation]) -> None:
        """Selects the runs to read. A few readers of earlier selections are kept."""
        path = focus.path if focus is not None else None
        if path != self.focus:
            self.loading = focus is not None
            self.focus = path
        locations = [location for location in others if location.path != path]
        if self.others != tuple(location.path for location in locations):
            self.others = tuple(location.path for location in locations)
            self.loading_others = bool(locations)
        for location in [*locations, *([focus] if focus is not None else [])]:
            reader = self._readers.pop(location.path, None)
            self._readers[location.path] = reader or RunReader(location)
        old = [one for one in self._readers if one != path and one not in self.others]
        for one in old[: max(0, len(old) - _READERS_KEPT)]:
            del self._readers[one]

    def forget(self, path: Path) -> None:
        """Drops the reader of a run that was deleted."""
        self._readers.pop(path, None)

    def folders(self) -> set[Path]:
        """The folders of the files that are read."""
        found = set()
        for path in self.chosen():
            location = self._readers[path].location
            found.add(location.metrics.parent)
            if location.kind not in ("run", "jsonl"):
                found |= {file.parent for file in registry.files_of(location)}
        return found

    def is_relevant(self, path: Path) -> bool:
        """Whether a change of this file concerns a run that is read."""
        for chosen in self.chosen():
            reader = self._readers.get(chosen)
            if reader is None:
                continue
            kind, file = reader.location.kind, reader.location.metrics
            if kind == "run":
                if path.parent == chosen and path.name in _FILES:
                    return True
            elif path == file or (kind != "jsonl" and path.parent in (file, file.parent)):
                return True
        return False

    def chosen(self) -> list[Path]:
        """The focused run and the others."""
        return [*([self.focus] if self.focus is not None else []), *self.others]

    def view(self, path: Path) -> RunView:
        """The view of a run as read so far."""
        return self._readers[path].view()

    def read_focused(self, polling: bool) -> None:
        """Reads what is new in the focused run, for at most a quarter of a second."""
        self.loading = False
        if self.focus is not None:
            until = time.monotonic() + self._budget
            self._budget = min(self._budget * 1.4, _LONGEST_SECONDS)
            worked = time.monotonic()
            while self._read(self.focus, polling):
                now = time.monotonic()
                if now >= until or self._stopping():
                    self.loading = True
                    return
                if now - worked >= _WORK_SECONDS:
                    time.sleep(_PAUSE_SECONDS)
                    worked = time.monotonic()
        self._budget = LOADING_SECONDS

    def read_others(self, polling: bool) -> None:
        """Reads the others in turn, a slice each, for about 30 ms."""
        until = time.monotonic() + OTHERS_SECONDS
        waiting = list(self.others)
        while waiting and not self._stopping():
            more = []
            for path in waiting:
                if self._read(path, polling):
                    more.append(path)
                    time.sleep(_PAUSE_SECONDS)
            waiting = more
            if time.monotonic() >= until:
                break
        self.loading_others = bool(waiting)

    def _read(self, path: Path, polling: bool) -> bool:
        """Reads one slice; whether there is more."""
        return self._readers[path].read(check_process=polling)[1]
