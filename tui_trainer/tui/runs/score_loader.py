"""The scores of the evaluations of a folder's runs, read in the background on request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from tui_trainer.evaluation.metrics import named_values
from tui_trainer.watch.query import run_scores
from tui_trainer.watch.runs.details.run_details import read_scores
from tui_trainer.watch.runs.resolve import location_of
from tui_trainer.watch.snapshots import RunSummary

_SECONDS = 5.0  # between two looks for new evaluations
_NONE: Mapping[str, float] = MappingProxyType({})


class ScoreLoader:
    """Scores by run and name, such as `test.accuracy`. They are read only while they are needed;
    a report is read once until its file changes."""

    def __init__(
        self,
        in_background: Callable[[Callable[[], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`in_background` calls a function in another thread; `clock` returns seconds."""
        self._in_background = in_background
        self._clock = clock
        self._started: float | None = None
        self._reading = False
        self.known: dict[Path, Mapping[str, float]] = {}
        self.names: set[str] = set()  # of all of them

    def get(self, path: Path) -> Mapping[str, float]:
        """A run's scores; empty where they are not read yet."""
        return self.known.get(path, _NONE)

    def read(self, runs: Iterable[RunSummary], done: Callable[[], object]) -> None:
        """Read what is new, at intervals; `done` is called from the other thread if there is
        something new."""
        now = self._clock()
        if self._reading or (self._started is not None and now - self._started < _SECONDS):
            return
        self._reading, self._started = True, now
        rows = [run for run in runs if run.kind == "run"]

        def work() -> None:
            try:
                read = {run.path: read_scores(location_of(run)).scores for run in rows}
            finally:
                self._reading = False
            found = {path: named_values(scores) for path, scores in read.items()}
            if found != self.known:
                self.known, self.names = {**found}, run_scores.names_of(found)
                done()

        self._in_background(work)
