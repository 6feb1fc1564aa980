"""Threads that supervise engine processes and report how each ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.launch.engine_process import start_engine
from tui_trainer.launch.exit_report import EngineEnd, EngineStart, describe_end
from tui_trainer.store.runs.run_folder import RunFolder

_CHILD_POLL = 0.1  # seconds; one cheap system call
_FOREIGN_POLL = 0.5  # seconds; reads state.json and the process table


class Supervisor:
    """Starts and supervises engines, each in its own thread.

    `on_end` is called once per engine, from that thread. Engines outlive their supervisor.
    """

    def __init__(
        self, on_end: Callable[[EngineEnd], None], *, command: Sequence[str] | None = None
    ) -> None:
        """`command` replaces the engine's command line, see `start_engine`."""
        self._on_end = on_end
        self._command = command
        self._stopped = threading.Event()

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None:
        """Start an engine and return at once; errors are reported to `on_end`, too."""
        self._spawn(lambda: self._run(folder, from_checkpoint, rate), folder)

    def attach(self, folder: RunFolder) -> None:
        """Supervise a run whose engine another process started, and return at once.

        The engine may still be starting (`idle`).
        """
        self._spawn(lambda: self._watch(folder), folder)

    def stop_watching(self) -> None:
        """Stop supervising: engines keep running, and `on_end` is no longer called."""
        self._stopped.set()

    def _spawn(self, work: Callable[[], EngineEnd | None], folder: RunFolder) -> None:
        def supervise() -> None:
            end = work()
            if end is not None and not self._stopped.is_set():
                self._on_end(end)

        threading.Thread(target=supervise, name=f"engine {folder.path.name}", daemon=True).start()

    def _run(
        self, folder: RunFolder, from_checkpoint: str | None, rate: float | None
    ) -> EngineEnd | None:
        start = EngineStart.now(folder)
        try:
            process = start_engine(folder, from_checkpoint, rate, command=self._command)
        except UserError as error:
            return EngineEnd(folder.path, folder.status(), str(error), None, refused=True)
        while process.poll() is None:
            if self._stopped.wait(_CHILD_POLL):
                return None
        return describe_end(folder, process.returncode, start)

    def _watch(self, folder: RunFolder) -> EngineEnd | None:
        start = EngineStart.joined(folder)
        while folder.status() in (*ACTIVE_STATES, "idle"):
            if self._stopped.wait(_FOREIGN_POLL):
                return None
        # `describe_end` reads the state again: the engine may have written its last one between
        # the two reads of `status`.
        return describe_end(folder, None, start)
