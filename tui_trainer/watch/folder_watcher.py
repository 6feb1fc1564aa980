"""Watches a whole folder of runs from one thread."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from tui_trainer.contracts.advice import AdvisorSettings
from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.text import formats
from tui_trainer.watch.error_boundary import caught
from tui_trainer.watch.file_events import FileEvents
from tui_trainer.watch.runs.backfill import PAUSE_SECONDS, Backfill
from tui_trainer.watch.runs.background_advice import BackgroundAdvice
from tui_trainer.watch.runs.reader_pool import ReaderPool
from tui_trainer.watch.runs.run_summary import SummaryReader
from tui_trainer.watch.scan import FoundRun, Scanner
from tui_trainer.watch.snapshots import FolderView, RunSummary, RunView
from tui_trainer.watch.throttle import Throttle

_log = logging.getLogger(__name__)

# Bursts of writes are read together: at least this many seconds between two rounds.
COALESCE_SECONDS = 0.02
_BUDGET_SECONDS = 0.03  # for reading summaries in one round
_MOST_NAMED = 3
MOST_OTHERS = 8


class FolderWatcher:
    """Watches a folder of runs, a run folder or a metrics file, which need not exist yet.

    The focused run and those given to `watch_others` are read completely, of all others only the
    summary for the run list.

    Args:
        root: the folder or file.
        on_change: called from the watcher's thread with a snapshot whenever something changed.
        poll_seconds: time between two scans of the folder and of the summaries.
        check_seconds: time between two readings of the runs that are read completely, as some file
            systems give no notices of changes.
        advisor: settings for the advice on runs without an advisor of their own.
    """

    def __init__(
        self,
        root: Path,
        on_change: Callable[[FolderView], None],
        *,
        poll_seconds: float = 1.0,
        check_seconds: float = 0.5,
        advisor: AdvisorSettings | None = None,
    ) -> None:
        self.root = root.expanduser().absolute()
        self._on_change = on_change
        self._poll_seconds = poll_seconds
        self._check_seconds = min(check_seconds, poll_seconds)
        self._scanner = Scanner(self.root)
        self._file_events = FileEvents(self._on_file_event)
        self._throttle = Throttle()
        self._is_stream = False
        self._summaries: dict[Path, SummaryReader] = {}
        self._ordered: list[SummaryReader] = []
        self._newest: Path | None = None
        self._needs_sorting = True
        self._unread: deque[Path] = deque()
        self._summarised: set[Path] = set()
        self._failure: str | None = None  # of the last round
        self._scan_result = FoundRun({})
        self._wanted: Path | None = None
        self._others: tuple[Path, ...] = ()
        self._sent: FolderView | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._readers = ReaderPool(self._stopping.is_set)
        self._backfill = Backfill()
        self._advice = BackgroundAdvice(advisor or AdvisorSettings(), self._wake.set)
        self._rescan = True
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread; a second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="folder-watcher", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread and waits for it; `on_change` is not called afterwards."""
        self._stopping.set()
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def focus(self, path: Path | None) -> None:
        """Selects the focused run; None selects the newest active run, or else the newest. While
        a path does not exist, the selection is as for None."""
        self._wanted = path.expanduser().absolute() if path is not None else None
        self._rescan = self._rescan or (path is not None and self._wanted not in self._summaries)
        self._wake.set()

    def watch_others(self, paths: Iterable[Path]) -> None:
        """Selects further runs to read completely, at most `MOST_OTHERS`, instead of the earlier
        ones. A path that does not exist is read once it does."""
        self._others = tuple(path.expanduser().absolute() for path in paths)[:MOST_OTHERS]
        self._wake.set()

    def refresh(self) -> None:
        """Reads everything again now."""
        self._rescan = True
        self._wake.set()

    def _run(self) -> None:
        self._file_events.start()
        try:
            next_poll = 0.0
            while not self._stopping.is_set():
                try:
                    next_poll = self._round(next_poll)
                except Exception as error:  # one bad round must not end the watching
                    self._report_failure(error)
                    self._stopping.wait(self._poll_seconds)
        finally:
            self._file_events.stop()
            self._advice.stop()

    def _report_failure(self, error: Exception) -> None:
        """Publishes a warning that a round failed, with what was read before."""
        reason = f"reading the folder failed, next try follows: {caught(error, self.root)}"
        if reason == self._failure or self._stopping.is_set():
            return
        self._failure = reason
        known = self._sent or FolderView(self.root)
        self._sent = replace(known, warnings=(*known.warnings, reason))
        self._notify(self._sent)

    def _round(self, next_poll: float) -> float:
        """One round: polls if it is time, reads, publishes, waits. Returns the time of the next
        poll."""
        self._wake.clear()
        started = time.monotonic()
        self._is_stream = self._throttle.is_stream(started)
        polling = self._rescan or started >= next_poll
        if polling:
            self._rescan = False
            self._poll()
            next_poll = time.monotonic() + self._poll_seconds
        self._select_runs()
        self._readers.read_focused(polling)
        self._readers.read_others(polling)
        self._read_summaries()
        self._publish()
        self._failure = None
        if not (self._is_loading() or self._unread or self._needs_sorting):
            if self._readers.focus is not None:  # after its chart was published
                self._advice.request(self._readers.view(self._readers.focus))
            until = max(started + COALESCE_SECONDS, self._throttle.next(started))
            if not self._is_stream:
                longest = (
                    PAUSE_SECONDS if self._backfill.work(self._ordered) else self._check_seconds
                )
                self._wake.wait(max(0.0, min(next_poll - time.monotonic(), longest)))
            self._stopping.wait(max(0.0, until - time.monotonic()))
        return next_poll

    def _poll(self) -> None:
        self._scan_result = self._scanner.scan()
        locations = self._scan_result.locations
        for path in self._summaries.keys() - locations.keys():
            del self._summaries[path]
            self._readers.forget(path)
            self._summarised.discard(path)
        for path, location in locations.items():
            if path not in self._summaries:
                self._summaries[path] = SummaryReader(location)
        queued = set(self._unread)  # those keep their turn, however slow the disk
        self._unread.extend(path for path in self._summaries if path not in queued)
        self._needs_sorting = True

    def _select_runs(self) -> None:
        """Selects the focused run, the others, and the folders to be notified of."""
        if self._needs_sorting:
            self._needs_sorting = False
            self._sort_summaries()
        wanted = self._wanted
        focus = wanted if wanted in self._summaries else self._newest
        others = [path for path in self._others if path in self._summaries and path != focus]
        if focus != self._readers.focus or tuple(others) != self._readers.others:
            for path in self._readers.chosen():
                if path in self._summaries:
                    self._summaries[path].adopt(self._readers.view(path).summary)
            chosen = self._summaries[focus].location if focus is not None else None
            self._readers.select(chosen, [self._summaries[path].location for path in others])
        # While rows stream in they are read at a fixed pace; a notice for each would cost more.
        folders = set() if self._is_stream else self._readers.folders()
        if self._scan_result.problem is None:
            folders.add(self.root if self.root.is_dir() else self.root.parent)
        self._file_events.watch(folders)

    def _sort_summaries(self) -> None:
        """Sorts the list newest first, and finds the newest active run, or else the newest."""

        def key(reader: SummaryReader) -> tuple[float, str]:
            return -reader.order, str(reader.location.path)

        self._ordered = sorted(self._summaries.values(), key=key)
        active = (reader for reader in self._ordered if _is_active(reader))
        newest = next(active, self._ordered[0] if self._ordered else None)
        self._newest = newest.location.path if newest is not None else None

    def _is_loading(self) -> bool:
        return self._readers.loading or self._readers.loading_others

    def _read_summaries(self) -> None:
        """Reads summaries that are due, for about 30 ms."""
        until = time.monotonic() + _BUDGET_SECONDS
        read_whole = self._readers.chosen()
        while self._unread:
            path = self._unread.popleft()
            if path not in self._summaries:
                continue
            self._summarised.add(path)
            if path not in read_whole:
                self._needs_sorting |= self._summaries[path].read()
            if time.monotonic() >= until:
                break

    def _publish(self) -> None:
        view = self._make_view()
        if view != self._sent and not self._stopping.is_set():
            self._throttle.record(time.monotonic(), _new_rows(self._sent, view))
            self._sent = view
            self._notify(view)

    def _notify(self, view: FolderView) -> None:
        try:
            self._on_change(view)
        except Exception:
            _log.exception("on_change of the watcher of %s", self.root)

    def _make_view(self) -> FolderView:
        read_whole: dict[Path, RunView] = {}
        for path in self._readers.chosen():
            read_whole[path] = view = self._readers.view(path)
            self._needs_sorting |= self._summaries[path].set_status(view.summary.status)
        runs = [
            read_whole[one.location.path].summary
            if one.location.path in read_whole
            else one.summary
            for one in self._ordered
        ]
        warnings = [*self._scan_result.warnings, *_unreadable(runs)]
        if self._file_events.problem is not None:
            warnings.append(self._file_events.problem)
        focus = self._readers.focus
        return FolderView(
            root=self.root,
            runs=tuple(runs),
            focused=self._advice.complete(read_whole[focus]) if focus is not None else None,
            problem=self._scan_result.problem,
            loading=self._is_loading() or (bool(self._unread) and self._is_first_pass()),
            warnings=tuple(warnings),
            others=tuple(read_whole[path] for path in self._readers.others),
            read=len(self._summarised),
        )

    def _is_first_pass(self) -> bool:
        return self._sent is None or self._sent.loading

    def _on_file_event(self, path: Path, listing_changed: bool) -> None:
        """Called from watchdog's thread."""
        if self._readers.is_relevant(path):
            self._wake.set()
        elif listing_changed and path.parent == self.root and not path.name.startswith("."):
            self._rescan = True
            self._wake.set()


def _unreadable(runs: list[RunSummary]) -> list[str]:
    """Warnings about runs that cannot be read, one each while they are few."""
    unreadable = [run for run in runs if run.problem]
    messages = [f"run {run.name}: {run.problem}" for run in unreadable[:_MOST_NAMED]]
    if len(unreadable) > _MOST_NAMED:
        runs_text = formats.plural(len(unreadable), "run")
        messages.append(f"{runs_text} cannot be read completely; the run list shows why")
    return messages


def _new_rows(before: FolderView | None, view: FolderView) -> int:
    """The number of new rows of the focused run; 1 where there is no earlier view of it."""
    if before is None or before.loading or before.focused is None or view.focused is None:
        return 1
    return max(0, view.focused.rows - before.focused.rows)


def _is_active(reader: SummaryReader) -> bool:
    status = reader.status
    # A growing file of another tool has the status "unknown".
    return status in ACTIVE_STATES or (reader.location.kind != "run" and status == "unknown")
