"""Reads large ended runs completely while there is nothing else to do, for their summaries."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.watch.runs.run_summary import FileVersion, SummaryReader

# At most a fifth of a core.
WORK_SECONDS, PAUSE_SECONDS = 0.01, 0.05


class Backfill:
    """Reads one ended run after the other, and keeps only the summary of each."""

    def __init__(self) -> None:
        self._summary: SummaryReader | None = None
        self._reader: RunReader | None = None
        self._read_versions: dict[Path, FileVersion] = {}

    def work(self, summaries: Iterable[SummaryReader]) -> bool:
        """Reads for about 10 ms; whether there is more to read."""
        until = time.monotonic() + WORK_SECONDS
        while self._reader is not None or self._next_run(summaries):
            self._read()
            if time.monotonic() >= until:
                return True
        return False

    def _next_run(self, summaries: Iterable[SummaryReader]) -> bool:
        """Finds a run of which only the last loss is known."""
        for summary in summaries:
            row, path = summary.summary, summary.location.path
            known = row.loss is None or row.best_loss is not None
            is_active = row.status in ACTIVE_STATES or row.status == "unknown"
            if not known and not is_active and self._read_versions.get(path) != summary.version:
                self._summary, self._reader = summary, RunReader(summary.location)
                return True
        return False

    def _read(self) -> None:
        summary, reader = self._summary, self._reader
        if summary is None or reader is None:
            return
        _, more = reader.read(check_process=False)
        if more:
            return
        summary.adopt(reader.view().summary)
        self._read_versions[summary.location.path] = summary.version
        self._summary = self._reader = None
