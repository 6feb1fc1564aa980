"""The engines that this session started or supervises."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.store.runs import process_identity
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.protocols import EngineSupervisor

if TYPE_CHECKING:
    from tui_trainer.launch.exit_report import EngineEnd
    from tui_trainer.watch.snapshots import RunSummary, RunView


def local_process(run: RunView | None) -> int | None:
    """The process id of a run that is active on this computer; None for any other."""
    state = run.state if run is not None and run.summary.status in ACTIVE_STATES else None
    return state.pid if state is not None and process_identity.is_here(state) else None


class Engines:
    """Starts engines, attaches to running ones, and records which this session started."""

    def __init__(self, supervisor: EngineSupervisor, started: Path | None) -> None:
        """`started` is a run that was started for this session before the screen opened."""
        self._supervisor = supervisor
        self._started: set[Path] = set() if started is None else {started}
        self._watched: set[Path] = set()
        self._ended: dict[Path, float] = {}

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None:
        """Start an engine on a run folder, see `Supervisor.start`."""
        self._started.add(folder.path)
        self._watched.add(folder.path)
        self._supervisor.start(folder, from_checkpoint, rate)

    def attach_to_live(self, runs: Iterable[RunSummary]) -> None:
        """Supervise every running run that is not supervised yet.

        Runs in a snapshot older than the end of their engine are ignored. A run that was started
        for this session may still wait for its engine (`idle`).
        """
        for run in runs:
            live = run.status in ACTIVE_STATES or (
                run.status == "idle" and run.path in self._started
            )
            if run.kind != "run" or not live or run.path in self._watched:
                continue
            if (run.updated_at or 0.0) <= self._ended.get(run.path, -1.0):
                continue
            self._watched.add(run.path)
            self._supervisor.attach(RunFolder(run.path))

    def ended(self, end: EngineEnd) -> None:
        """Record that an engine has ended."""
        self._watched.discard(end.path)
        self._ended[end.path] = time.time()

    def has_started(self, path: Path) -> bool:
        """Whether this session started the run, or it was started for it."""
        return path in self._started

    def reports_end(self, path: Path) -> bool:
        """Whether the end of a run is reported by `describe`, now or before."""
        return path in self._watched or path in self._ended

    def training(self) -> list[RunFolder]:
        """The runs started in this session whose engines are still running; reads their states."""
        folders = [RunFolder(path) for path in sorted(self._started)]
        return [folder for folder in folders if folder.status() in ACTIVE_STATES]

    def describe(self, end: EngineEnd, runs: Iterable[RunSummary]) -> str:
        """How an engine ended, as one sentence."""
        name = next((run.name for run in runs if run.path == end.path), end.path.name)
        if end.refused:
            return f"{name} was not started: {end.message}"
        ended = f"{name} {run_status.ended_text(end.status)}"
        return f"{ended}: {end.message}" if end.message else ended
