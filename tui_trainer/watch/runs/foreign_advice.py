"""The advisor over a run that was read into tables: for runs without an advisor of their own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tui_trainer.advisor.advisor import Advisor
from tui_trainer.advisor.job_facts import facts_of
from tui_trainer.advisor.replay import Replay, from_columns
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts
from tui_trainer.watch.snapshots import MISSING, Column, MetricTable, RunView, is_missing
from tui_trainer.watch.tables.metric_names import INDEX_COLUMNS

_SLICE = 128  # rows judged between two yields: about 10 ms
_SIGNALS = ("step", "loss", "learning_rate", "gradient_norm", "step_time_ms", "time", "val_loss")
_LABELS = {"learning_rate": "learning rate", "gradient_norm": "gradient norm"}


class ForeignAdvice:
    """The advice on one run, brought up to date as the run grows.

    Args:
        settings: the user's advisor settings.
        most_rows: the advisor receives at most this many training rows; of a longer run it
            receives means of equally many consecutive rows. None: no limit beyond the table's
            own, so means of rows only where the table is thinned.
    """

    def __init__(
        self, settings: AdvisorSettings | None = None, most_rows: int | None = None
    ) -> None:
        self.settings = settings or AdvisorSettings()
        self.reports: list[Advice] = []  # each advice as raised, updated and closed, in order
        self.rows = 0  # training rows judged, or means of rows
        self.rows_per_mean = 1
        self._most_rows = most_rows
        self._advisor = Advisor(self.settings)
        self._judged: tuple[object, ...] = ()  # what identifies the beginning that was judged
        self._train = self._evals = 0

    @property
    def advice(self) -> tuple[Advice, ...]:
        """Every advice once, as last reported."""
        return tuple({advice.id: advice for advice in self.reports}.values())

    def result(self, lacks: list[str]) -> Replay:
        """The advice as a replay; `lacks` as returned by `lacking`."""
        return Replay(
            advice=list(self.advice),
            reports=self.reports,
            lacks=lacks,
            rows=self.rows,
            advisor=self._advisor,
        )

    def update(self, view: RunView) -> Iterator[None]:
        """Judges the rows that are new, and yields after every `_SLICE` of them.

        Starts again from the first row for another run, where rows were replaced or more of them
        are merged into one, and while the evaluations are thinned.
        """
        rows_per_mean = _rows_per_mean(view.train, self._most_rows)
        train = _merged(view.train, rows_per_mean)
        rows, evals = len(train.get("step", ())), len(view.evals)
        judged = (view.summary.path, rows_per_mean, view.evals.thinning, view.resumed_at)
        shorter = rows < self._train or evals < self._evals
        if judged != self._judged or shorter or view.evals.thinning > 1:
            self._judged, self.rows_per_mean = judged, rows_per_mean
            self.reports, self.rows, self._train, self._evals = [], 0, 0, 0
            self._advisor = Advisor(self.settings, facts_in(view))
        new_train = {name: values[self._train :] for name, values in train.items()}
        new_evals = {
            name: values[self._evals :]
            for name, values in view.evals.columns.items()
            if name in _SIGNALS
        }
        self._train, self._evals = rows, evals
        for index, row in enumerate(from_columns(new_train, new_evals)):
            self.rows += row.loss is not None or "loss" in row.nonfinite
            self.reports += self._advisor.observe(row)
            if index % _SLICE == _SLICE - 1:
                yield


def facts_in(view: RunView) -> JobFacts:
    """The facts of a run's plan that its files record."""
    if view.info is not None:
        return facts_of(view.info.job, view.summary.total_steps)
    return JobFacts(total_steps=view.summary.total_steps)


def lacking(view: RunView) -> list[str]:
    """Labels of the signals that a run does not record."""
    found = [label for name, label in _LABELS.items() if not view.train.count(name)]
    return found if view.evals.count("val_loss") else [*found, "validation loss"]


def _rows_per_mean(table: MetricTable, most_rows: int | None) -> int:
    """Rows to merge so that at most `most_rows` remain: a power of two, so that it changes only
    each time a growing run has become twice as long."""
    size = table.thinning
    while most_rows is not None and table.rows > size * most_rows:
        size *= 2
    return size


def _merged(table: MetricTable, size: int) -> dict[str, Column]:
    """The columns the advisor reads, with `size` consecutive rows merged into one.

    A thinned table has entries of different weights, and means of more rows scatter less: without
    this the single rows at its end would look like an oscillation. Rows that do not fill a
    group yet are left for later. Missing and non-finite values stay as in `MetricTable`.
    """
    columns = {name: column for name, column in table.columns.items() if name in _SIGNALS}
    if size == 1 or not len(table):
        return columns
    weights = np.ones(len(table), np.int64) if table.weights is None else table.weights
    ends = np.cumsum(weights, dtype=np.int64)
    group = (ends - 1) // size
    first = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    last = np.append(first[1:], len(group)) - 1
    if ends[-1] < (group[-1] + 1) * size:
        first, last = first[:-1], last[:-1]
    stop = int(last[-1]) + 1 if len(last) else 0
    merged = {}
    for name, column in columns.items():
        if name in INDEX_COLUMNS or not stop:  # the last value, not the mean
            merged[name] = column[last]
            continue
        values = column[:stop]
        finite = np.isfinite(values)
        counts = np.where(finite, weights[:stop], 0)
        totals = np.add.reduceat(np.where(finite, values, 0.0) * counts, first)
        number = np.add.reduceat(counts, first)
        measured = np.logical_or.reduceat(~is_missing(values), first)
        merged[name] = np.where(
            number > 0, totals / np.maximum(number, 1), np.where(measured, np.nan, MISSING)
        )
    return merged
