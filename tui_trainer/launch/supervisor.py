"""Threads that stand by engine processes and tell how each ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import ACTIVE_STATES
from tui_trainer.launch.engine_process import start_engine
from tui_trainer.launch.exit_report import EngineEnd, StartedProcess, describe_end
from tui_trainer.store.runs.run_folder import RunFolder

_CHILD_POLL = 0.1  # seconds; a child's end is one cheap system call away
_FOREIGN_POLL = 0.5  # seconds; costs reading state.json and a look into the process table


class Supervisor:
    """Starts engines and watches them, each from a thread of its own.

    `on_end` is called once per engine, from that thread. Engines outlive their supervisor.
    """

    def __init__(
        self, on_end: Callable[[EngineEnd], None], *, command: Sequence[str] | None = None
    ) -> None:
        """`command` stands in for the engine's command line, see `start_engine`."""
        self._on_end = on_end
        self._command = command
        self._left = threading.Event()

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None:
        """Starts an engine and returns at once; what went wrong with it comes to `on_end`."""
        self._spawn(lambda: self._run(folder, from_checkpoint, rate), folder)

    def attach(self, folder: RunFolder) -> None:
        """Watches a run whose engine somebody else started; returns at once.

        A run that waits for its engine (`idle`) is waited for too.
        """
        self._spawn(lambda: self._watch(folder), folder)

    def stop_watching(self) -> None:
        """Leaves every engine running; `on_end` is not called any more."""
        self._left.set()

    def _spawn(self, work: Callable[[], EngineEnd | None], folder: RunFolder) -> None:
        def stand_by() -> None:
            end = work()
            if end is not None and not self._left.is_set():
                self._on_end(end)

        threading.Thread(target=stand_by, name=f"engine {folder.path.name}", daemon=True).start()

    def _run(
        self, folder: RunFolder, from_checkpoint: str | None, rate: float | None
    ) -> EngineEnd | None:
        beginning = StartedProcess.now(folder)
        try:
            process = start_engine(folder, from_checkpoint, rate, command=self._command)
        except UserError as error:
            return EngineEnd(folder.path, folder.status(), str(error), None, refused=True)
        while process.poll() is None:
            if self._left.wait(_CHILD_POLL):
                return None
        return describe_end(folder, process.returncode, beginning)

    def _watch(self, folder: RunFolder) -> EngineEnd | None:
        beginning = StartedProcess.joined(folder)
        while folder.status() in (*ACTIVE_STATES, "idle"):
            if self._left.wait(_FOREIGN_POLL):
                return None
        # Read again: the last state may have been written between reading it and asking
        # for the process, which by now is surely gone.
        return describe_end(folder, None, beginning)
