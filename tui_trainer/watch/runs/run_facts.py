"""The small files of a run, `run.json` and `state.json`, and its status."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui_trainer.contracts.runs.run import ACTIVE_STATES, LoopInfo, RunBasics, RunInfo, RunState
from tui_trainer.store.runs import process_identity
from tui_trainer.store.runs.run_folder import STALE_SECONDS, RunFolder, status_of
from tui_trainer.watch.formats import registry
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.details.flat_config import flat_config
from tui_trainer.watch.runs.hang_detector import HangDetector
from tui_trainer.watch.runs.run_metrics import tool_of
from tui_trainer.watch.snapshots import RunSummary
from tui_trainer.watch.tables.source import SourceFacts, SourcePeek
from tui_trainer.watch.unreadable_runs import record_problem

Signature = tuple[int, int, int] | None


class RunFacts:
    """The contents of `run.json` and `state.json`, read again only when they change, and the
    status."""

    def __init__(self, location: RunLocation) -> None:
        self.location = location
        self.folder = RunFolder(location.path)
        self.info: RunInfo | None = None
        self.loop: LoopInfo | None = None
        self.state: RunState | None = None
        self.status = "unknown"
        self.config: Mapping[str, Any] = {}
        self.source = SourceFacts()  # of a run of another tool
        self.tool = tool_of(location)
        self.hang_detector = HangDetector(self.folder)
        self._info_problem: str | None = None
        self._state_problem: str | None = None
        self._info_signature: Signature = (0, 0, 0)
        self._state_signature: Signature = (0, 0, 0)

    def read(self, check_process: bool = True) -> bool:
        """Reads what changed; whether anything did. With `check_process` the status also takes
        into account whether the process still runs."""
        if self.location.kind != "run":
            return self._set_status(self.source.status or _age_status(self.location))
        changed = self._read_info()
        changed |= self._read_state()
        if changed or check_process:
            changed |= self._set_status(self._status_now())
            changed |= self.hang_detector.check(self.state, self.status, self.info)
        return changed

    def _status_now(self) -> str:
        status = status_of(self.state)
        # The process may have written its last state and ended between the two readings.
        return status_of(self.state) if status == "crashed" and self._read_state() else status

    def warnings(self) -> list[str]:
        """Warnings about `run.json` and `state.json` that exist but cannot be read."""
        return [
            message for message in (self._info_problem, self._state_problem) if message is not None
        ]

    @property
    def basics(self) -> RunBasics | None:
        """What every run folder records, of the engine or of a `RunWriter`."""
        return self.info or self.loop

    def is_live_here(self) -> bool:
        """Whether a live process on this host executes commands for the run."""
        state = self.state
        return (
            state is not None
            and self.status in ACTIVE_STATES
            and process_identity.is_here(state)
            and state.commands != ()
        )

    def summary(self, peek: SourcePeek) -> RunSummary:
        """The summary of the run, with the values of its metrics."""
        info, state, location = self.basics, self.state, self.location
        step = peek.step
        newest = int(step) if step is not None and abs(step) < 2**62 else None
        row = RunSummary(
            path=location.path,
            id=location.id,
            name=peek.name or location.name,
            kind=location.kind,
            status=self.status,
            step=newest,
            total_steps=peek.total_steps,
            loss=peek.loss,
            best_val_loss=peek.best_val_loss,
            tokens_per_second=peek.tokens_per_second,
            created_at=peek.created_at,
            updated_at=_modified(location) if state is None else state.updated_at,
            message=peek.message,
            learning_rate=peek.learning_rate,
            best_loss=peek.best_loss,
            spark=peek.spark,
            trend=peek.trend,
            epoch=peek.epoch,
            tool=self.tool,
            commandable=self.is_live_here(),
            stalled=self.hang_detector.stalled,
            critical=self.hang_detector.critical,
            problem="; ".join(self.warnings()),
        )
        if info is not None:
            row = replace(row, id=info.id, name=info.name, created_at=info.created_at)
        row = row if state is None else _with_state(row, state)
        if row.eta_seconds is None and row.status in ACTIVE_STATES:
            row = replace(row, eta_seconds=_remaining_seconds(row, peek))
        return row

    def _read_info(self) -> bool:
        current = signature(self.folder.info_file)
        if current == self._info_signature and (self.basics is not None or current is None):
            return False
        # A file that could not be read is tried again: a change of its permissions is not seen in
        # its modification time.
        changed, self._info_signature = current != self._info_signature, current
        self.info = self.folder.info()
        self.loop = self.folder.loop_info() if self.info is None else None
        self.config = flat_config(self.basics)
        if self.loop is not None:
            self.tool = self.loop.program
        is_unreadable = self.basics is None and current is not None
        self._info_problem = (
            record_problem(self.folder.info_file, RunBasics) if is_unreadable else None
        )
        return changed or self.basics is not None

    def _read_state(self) -> bool:
        current = signature(self.folder.state_file)
        if current == self._state_signature and (self.state is not None or current is None):
            return False
        changed, self._state_signature = current != self._state_signature, current
        fresh = self.folder.state()
        self.state = fresh or self.state
        is_unreadable = fresh is None and current is not None
        self._state_problem = (
            record_problem(self.folder.state_file, RunState) if is_unreadable else None
        )
        return changed or fresh is not None

    def _set_status(self, status: str) -> bool:
        changed = status != self.status
        self.status = status
        return changed


def signature(path: Path) -> Signature:
    """Inode, size and modification time of a file, in ns; None where it is absent."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _age_status(location: RunLocation) -> str:
    """The status of a file of another tool: `unknown` while it may still grow, or `recorded`."""
    modified = _modified(location)
    if modified is None or abs(time.time() - modified) < STALE_SECONDS:  # a clock may be set back
        return "unknown"
    return "recorded"


def _modified(location: RunLocation) -> float | None:
    """The newest modification time of the metrics files, in seconds since the epoch."""
    current = registry.stamp(location)
    return current[2] / 1e9 if current else None


def _with_state(row: RunSummary, state: RunState) -> RunSummary:
    """The summary with the values of the state, which take precedence over the metrics."""
    best = row.best_val_loss if state.best_val_loss is None else state.best_val_loss
    speed = row.tokens_per_second if state.tokens_per_second is None else state.tokens_per_second
    return replace(
        row,
        step=state.step,
        total_steps=state.total_steps,
        best_val_loss=best,
        tokens_per_second=speed,
        eta_seconds=state.eta_seconds,
        message=state.message,
    )


def _remaining_seconds(row: RunSummary, peek: SourcePeek) -> float | None:
    """Seconds to the last step at the newest rate; None where it is not known."""
    if row.total_steps is None or row.step is None or peek.seconds_per_step is None:
        return None
    return max(0.0, (row.total_steps - row.step) * peek.seconds_per_step)
