"""A whole folder of runs, watched by one thread."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tui_trainer.contracts.run import ACTIVE_STATES
from tui_trainer.watch.glance import Glance
from tui_trainer.watch.notify import Notifier
from tui_trainer.watch.run import RunReader
from tui_trainer.watch.scan import Found, Scanner
from tui_trainer.watch.view import FolderView, RunView

# The files of a run folder whose change is worth a reading.
_FILES = frozenset({"run.json", "state.json", "metrics.jsonl", "events.jsonl", "hardware.jsonl"})
_log = logging.getLogger(__name__)

# Bursts of writes are read together: at most one reading in this many seconds.
COALESCE_SECONDS = 0.02
# While much is read the list and the chart grow in steps of this length.
_LOADING_SECONDS = 0.1
_BUDGET_SECONDS = 0.03
_READERS_KEPT = 3


class FolderWatcher:
    """Watches a folder of runs, a run folder or a metrics file; it need not exist yet.

    `on_change` is called from the watcher's own thread with a frozen snapshot, and only when
    something changed. The focused run is read whole and woken by the system's notices; all
    others are looked at every `poll_seconds`.
    """

    def __init__(
        self,
        root: Path,
        on_change: Callable[[FolderView], None],
        *,
        poll_seconds: float = 1.0,
    ) -> None:
        self.root = root.expanduser().absolute()
        self._on_change = on_change
        self._poll_seconds = poll_seconds
        self._scanner = Scanner(self.root)
        self._notifier = Notifier(self._noticed)
        self._glances: dict[Path, Glance] = {}
        self._ordered: list[Glance] = []
        self._newest: Path | None = None
        self._disordered = True
        self._unread: deque[Path] = deque()
        self._readers: dict[Path, RunReader] = {}
        self._broken: dict[Path, str] = {}
        self._found = Found({})
        self._wanted: Path | None = None
        self._focus: Path | None = None
        self._reading = True
        self._sent: FolderView | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
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
        """Chooses the run that is read whole; None chooses the newest active run, else the
        newest. A path that is not there (yet) is remembered, and the choice made as for None."""
        self._wanted = path.expanduser().absolute() if path is not None else None
        self._rescan = self._rescan or (path is not None and self._wanted not in self._glances)
        self._wake.set()

    def refresh(self) -> None:
        """Looks at everything now."""
        self._rescan = True
        self._wake.set()

    def _run(self) -> None:
        self._notifier.start()
        try:
            next_poll = 0.0
            while not self._stopping.is_set():
                try:
                    next_poll = self._turn(next_poll)
                except Exception:  # one bad turn must not end the watching
                    _log.exception("watching %s", self.root)
                    self._stopping.wait(self._poll_seconds)
        finally:
            self._notifier.stop()

    def _turn(self, next_poll: float) -> float:
        """One round: poll if it is time, read, tell, wait. Gives the time of the next poll."""
        self._wake.clear()
        begun = time.monotonic()
        polling = self._rescan or begun >= next_poll
        if polling:
            self._rescan = False
            self._poll()
            next_poll = time.monotonic() + self._poll_seconds
        self._choose()
        self._read_focused(polling)
        self._read_others()
        self._tell()
        if not (self._reading or self._unread or self._disordered):
            self._wake.wait(max(0.0, next_poll - time.monotonic()))
            self._stopping.wait(max(0.0, begun + COALESCE_SECONDS - time.monotonic()))
        return next_poll

    def _poll(self) -> None:
        self._found = self._scanner.scan()
        places = self._found.places
        for path in self._glances.keys() - places.keys():
            del self._glances[path]
            self._readers.pop(path, None)
        for path in self._broken.keys() - places.keys():
            del self._broken[path]
        for path, place in places.items():
            if path not in self._glances:
                try:
                    self._glances[path] = Glance(place)
                except Exception as error:
                    self._broken[path] = f"{type(error).__name__}: {error}"
        self._unread = deque(path for path in self._glances if path != self._focus)
        self._disordered = True

    def _choose(self) -> None:
        """Settles on the focused run and on the folders that the system shall watch."""
        if self._disordered:
            self._disordered = False
            self._arrange()
        wanted = self._wanted
        focus = wanted if wanted in self._glances else self._newest
        if focus != self._focus:
            if self._focus in self._readers and self._focus in self._glances:
                self._glances[self._focus].adopt(self._readers[self._focus].view().summary)
            self._focus = focus
            self._reading = focus is not None
            if focus is not None:
                reader = self._readers.pop(focus, None)
                self._readers[focus] = reader or RunReader(self._glances[focus].place)
                while len(self._readers) > _READERS_KEPT:
                    del self._readers[next(iter(self._readers))]
        folders = set()
        if self._found.problem is None:
            folders.add(self.root if self.root.is_dir() else self.root.parent)
        if focus is not None:
            folders.add(self._glances[focus].place.metrics.parent)
        self._notifier.watch(folders)

    def _arrange(self) -> None:
        """Orders the list newest first, and finds the newest active run, else the newest."""

        def key(glance: Glance) -> tuple[float, str]:
            return -glance.order, str(glance.place.path)

        self._ordered = sorted(self._glances.values(), key=key)
        active = (glance for glance in self._ordered if _is_active(glance))
        newest = next(active, self._ordered[0] if self._ordered else None)
        self._newest = newest.place.path if newest is not None else None

    def _read_focused(self, polling: bool) -> None:
        focus = self._focus
        if focus is None:
            self._reading = False
            return
        reader = self._readers[focus]
        until = time.monotonic() + _LOADING_SECONDS
        try:
            while True:
                _, self._reading = reader.read(check_process=polling)
                if not self._reading or time.monotonic() >= until or self._stopping.is_set():
                    break
            self._broken.pop(focus, None)
        except Exception as error:  # one run's trouble stays its own
            self._reading = False
            self._broken[focus] = f"{type(error).__name__}: {error}"
            _log.debug("reading %s", focus, exc_info=True)

    def _read_others(self) -> None:
        until = time.monotonic() + _BUDGET_SECONDS
        while self._unread and time.monotonic() < until:
            path = self._unread.popleft()
            if path == self._focus or path not in self._glances:
                continue
            try:
                self._disordered |= self._glances[path].read()
                self._broken.pop(path, None)
            except Exception as error:
                self._broken[path] = f"{type(error).__name__}: {error}"

    def _tell(self) -> None:
        view = self._make_view()
        if view != self._sent and not self._stopping.is_set():
            self._sent = view
            try:
                self._on_change(view)
            except Exception:
                _log.exception("on_change of the watcher of %s", self.root)

    def _make_view(self) -> FolderView:
        focused: RunView | None = None
        chosen = self._glances[self._focus] if self._focus is not None else None
        if chosen is not None:
            focused = self._readers[chosen.place.path].view()
            if chosen.facts.status != focused.summary.status:
                chosen.facts.status = focused.summary.status
                self._disordered = True
        runs = [
            focused.summary if focused is not None and one is chosen else one.summary
            for one in self._ordered
        ]
        oddities = [*self._found.oddities]
        oddities += [f"{path.name}: {what}" for path, what in sorted(self._broken.items())]
        if self._notifier.problem is not None:
            oddities.append(self._notifier.problem)
        return FolderView(
            root=self.root,
            runs=tuple(runs),
            focused=focused,
            problem=self._found.problem,
            loading=self._reading or (bool(self._unread) and self._is_first_look()),
            oddities=tuple(oddities),
        )

    def _is_first_look(self) -> bool:
        return self._sent is None or self._sent.loading

    def _noticed(self, path: Path, listing_changed: bool) -> None:
        """Called from watchdog's thread."""
        focus = self._focus
        if focus is not None and (path == focus or (path.parent == focus and path.name in _FILES)):
            self._wake.set()
        elif listing_changed and path.parent == self.root and not path.name.startswith("."):
            self._rescan = True
            self._wake.set()


def _is_active(glance: Glance) -> bool:
    status = glance.facts.status
    # A foreign file that still grows says no more than "unknown" of its writer.
    return status in ACTIVE_STATES or (glance.place.kind == "jsonl" and status == "unknown")
