"""The summary of a run for the run list, from its state and samples of its metrics."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from tui_trainer.store.regular_files import open_regular
from tui_trainer.watch.error_boundary import caught, file_problem
from tui_trainer.watch.formats import registry
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.run_facts import RunFacts, Signature, signature
from tui_trainer.watch.snapshots import RunSummary
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.list_summary import peek_of
from tui_trainer.watch.tables.metric_decoder import MetricDecoder
from tui_trainer.watch.tables.source import SourceFacts, SourcePeek
from tui_trainer.watch.unreadable_runs import unreadable_row, with_problems

# Files up to this size are read completely; of larger ones the end, and windows before it.
_WHOLE_BYTES = 128 * 1024
_END_BYTES = 16 * 1024
_WINDOWS = 24
_WINDOW_BYTES = 2 * 1024
FileVersion = tuple[Signature, registry.Stamp]


class SummaryReader:
    """The summary of one run, read again only when its files change."""

    def __init__(self, location: RunLocation) -> None:
        self.location = location
        self.facts: RunFacts | None = None
        self.failure: str | None = None
        self.summary = unreadable_row(location, "not read yet")
        self._signature: Signature = None
        self._stamp: registry.Stamp = ()
        self._peek = SourcePeek()
        self._problem: str | None = None
        first = signature(location.metrics) or signature(location.path)
        self._found_at = first[2] / 1e9 if first is not None else 0.0
        try:
            self.summary = self._known_facts().summary(self._peek)
        except Exception as error:
            self._fail(error)

    @property
    def order(self) -> float:
        """The time by which runs are sorted: the start of the run, or when its file was last
        changed before it was found; seconds since the epoch."""
        info = self.facts.basics if self.facts is not None else None
        return info.created_at if info is not None else self._found_at

    @property
    def status(self) -> str:
        """The status of the run."""
        return self.summary.status

    def set_status(self, status: str) -> bool:
        """Sets the status found by a complete reading; whether it changed."""
        if status == self.summary.status:
            return False
        if self.facts is not None:
            self.facts.status = status
        self.summary = dataclasses.replace(self.summary, status=status)
        return True

    @property
    def version(self) -> FileVersion:
        """A value that changes with the run's files, as of the last reading."""
        return self._signature, self._stamp

    def read(self) -> bool:
        """Reads what changed; whether the summary did. Never raises: the summary has the reason
        why a run cannot be read."""
        before = self.summary
        try:
            changed = self._read()
            self.failure = None
            return changed
        except Exception as error:
            self._fail(error)
            return self.summary != before

    def _known_facts(self) -> RunFacts:
        if self.facts is None:
            facts = RunFacts(self.location)
            facts.read()
            self.facts = facts
        return self.facts

    def _fail(self, error: Exception) -> None:
        self.failure = caught(error, self.location.path)
        try:
            row = self._known_facts().summary(self._peek)
        except Exception:
            row = unreadable_row(self.location, self.failure)
        self.summary = with_problems(row, f"cannot be read: {self.failure}")

    def _read(self) -> bool:
        changed = self._known_facts().read()
        if self.location.kind not in ("run", "jsonl"):
            return self._read_foreign(changed)
        seen = signature(self.location.metrics)
        if seen != self._signature:
            again = (
                self._signature is not None and seen is not None and seen[1] < self._signature[1]
            )
            before = SourcePeek() if again else self._peek
            self._problem = None
            if seen is not None:
                try:
                    self._peek = sample_file(self.location.metrics, seen[1], before)
                except OSError as error:
                    self._problem = file_problem(error, self.location.metrics)
            self._signature = seen if self._problem is None else None
        elif not changed:
            return False
        return self._summarise()

    def _read_foreign(self, changed: bool) -> bool:
        seen = registry.stamp(self.location)
        if seen != self._stamp:
            self._problem = None
            try:
                self._peek = registry.peek(self.location)
            except OSError as error:
                self._problem = file_problem(error, self.location.metrics)
            self._stamp = seen if self._problem is None else ()
            facts = self._known_facts()
            facts.source = SourceFacts(status=self._peek.status)
            facts.read()
        elif not changed:
            return False
        return self._summarise()

    def _summarise(self) -> bool:
        fresh = self._known_facts().summary(self._peek)
        if self._problem is not None:
            fresh = with_problems(fresh, self._problem)
        changed = fresh != self.summary
        self.summary = fresh
        return changed

    def adopt(self, summary: RunSummary) -> None:
        """Sets the summary found by a complete reading, until the files change."""
        self.summary = summary
        self._peek = dataclasses.replace(
            self._peek,
            step=summary.step,
            loss=summary.loss,
            learning_rate=summary.learning_rate,
            epoch=summary.epoch,
            best_loss=summary.best_loss,
            best_val_loss=summary.best_val_loss,
            spark=summary.spark,
            trend=summary.trend,
        )
        self._signature = signature(self.location.metrics)


def sample_file(file: Path, size: int, before: SourcePeek) -> SourcePeek:
    """Reads a file of JSON lines completely up to 128 KiB, otherwise its end and 24 windows.

    The best losses of a larger file are unknown unless they are in `before`. Raises `OSError`.
    """
    if size <= _WHOLE_BYTES:
        with open_regular(file) as stream:
            data = stream.read(_WHOLE_BYTES + _END_BYTES)
        return peek_of(_history(data[: data.rfind(b"\n") + 1]), SourceFacts())
    positions = np.linspace(0, size - _WINDOW_BYTES, _WINDOWS).astype(int).tolist()
    with open_regular(file) as stream:
        stream.seek(size - _END_BYTES)
        end = _history(_whole_lines(stream.read(_END_BYTES), False))
        windows = []
        for location in positions:
            stream.seek(location)
            windows.append(_whole_lines(stream.read(_WINDOW_BYTES), location == 0))
    if not len(end.train.table()) and not len(end.evals.table()):
        return before
    sampled = peek_of(_history(b"".join(windows)), SourceFacts())
    newest = peek_of(end, SourceFacts())
    return dataclasses.replace(
        newest,
        # The number of rows from the middle of a file is not a step.
        step=None if end.stepless else newest.step,
        loss=before.loss if newest.loss is None else newest.loss,
        best_loss=_lower(before.best_loss, newest.best_loss),
        best_val_loss=_lower(before.best_val_loss, newest.best_val_loss),
        spark=sampled.spark,
        trend=sampled.trend,
    )


def _lower(before: float | None, newest: float | None) -> float | None:
    """The best value so far, with that of the end; None where it was unknown."""
    if before is None or newest is None:
        return before
    return min(before, newest)


def _whole_lines(data: bytes, from_start: bool) -> bytes:
    begin = 0 if from_start else data.find(b"\n") + 1
    return data[begin : data.rfind(b"\n") + 1]


def _history(data: bytes) -> History:
    history = History()
    for rows in MetricDecoder().feed(data):
        history.append(rows)
    return history
