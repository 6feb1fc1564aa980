"""Services that load their modules after the first paint and forward calls from then on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.contracts.errors import reason_of

if TYPE_CHECKING:
    from tui_trainer.launch.exit_report import EngineEnd
    from tui_trainer.launch.supervisor import Supervisor
    from tui_trainer.store.runs.run_folder import RunFolder
    from tui_trainer.watch.folder_watcher import FolderWatcher


class LazyWatcher:
    """A `FolderWatcher` that is created in a thread when started; `on_fail` is called with a
    sentence where that fails."""

    def __init__(
        self, make: Callable[[], FolderWatcher], on_fail: Callable[[str], None] | None = None
    ) -> None:
        self._make = make
        self._on_fail = on_fail
        self._lock = threading.Lock()
        self._watcher: FolderWatcher | None = None
        self._pending_calls: list[Callable[[FolderWatcher], None]] = []
        self._started = self._stopped = False

    def start(self) -> None:
        """Start loading and watching; a second call does nothing."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._load, name="opening", daemon=True).start()

    def stop(self) -> None:
        """Stop watching and wait for the thread."""
        with self._lock:
            self._stopped = True
            watcher = self._watcher
        if watcher is not None:
            watcher.stop()

    def focus(self, path: Path | None) -> None:
        """See `FolderWatcher.focus`."""
        self._forward(lambda watcher: watcher.focus(path))

    def refresh(self) -> None:
        """See `FolderWatcher.refresh`."""
        self._forward(lambda watcher: watcher.refresh())

    def watch_others(self, paths: tuple[Path, ...]) -> None:
        """See `FolderWatcher.watch_others`."""
        self._forward(lambda watcher: watcher.watch_others(paths))

    def _forward(self, call: Callable[[FolderWatcher], None]) -> None:
        with self._lock:
            watcher = self._watcher
            if watcher is None:
                self._pending_calls.append(call)
        if watcher is not None:
            call(watcher)

    def _load(self) -> None:
        try:
            watcher = self._make()
        except Exception as error:  # in a thread nothing else would report it
            if self._on_fail is not None:
                self._on_fail(f"the folder cannot be watched: {reason_of(error)}")
            return
        with self._lock:
            for call in self._pending_calls:
                call(watcher)
            if not self._stopped:
                self._watcher = watcher
                watcher.start()


class LazySupervisor:
    """A `Supervisor` that is created when it is first needed."""

    def __init__(self, on_end: Callable[[EngineEnd], None]) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._supervisor: Supervisor | None = None
        self._stopped = False

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None:
        """See `Supervisor.start`."""
        self._create().start(folder, from_checkpoint, rate)

    def attach(self, folder: RunFolder) -> None:
        """See `Supervisor.attach`; its modules are loaded in a thread."""

        def attach() -> None:
            supervisor = self._create()
            if not self._stopped:
                supervisor.attach(folder)

        threading.Thread(target=attach, name="attaching", daemon=True).start()

    def stop_watching(self) -> None:
        """See `Supervisor.stop_watching`."""
        with self._lock:
            self._stopped = True
            if self._supervisor is not None:
                self._supervisor.stop_watching()

    def _create(self) -> Supervisor:
        from tui_trainer.launch.supervisor import Supervisor

        with self._lock:
            if self._supervisor is None:
                self._supervisor = Supervisor(self._on_end)
            return self._supervisor
