"""Merges values that are logged metric by metric into rows by step."""

from __future__ import annotations

from array import array

import numpy as np

from tui_trainer.watch.formats.base import ForeignSource
from tui_trainer.watch.formats.record_columns import EVAL, TRAIN, measured
from tui_trainer.watch.snapshots import MISSING, Column
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.metric_decoder import MOST_COLUMNS, DecodedRows

_CHUNK = 16_384
# Values out of order after which the tables are rebuilt.
_REBUILD_AFTER = 1


class _Series:
    """Steps, values and times of one metric, in the order in which they were read."""

    def __init__(self) -> None:
        self.steps, self.values, self.times = array("d"), array("d"), array("d")

    def add(self, step: float, value: float, time: float) -> None:
        self.steps.append(step)
        self.values.append(value)
        self.times.append(time)

    def drop_from(self, step: float) -> None:
        keep = np.frombuffer(self.steps) < step
        if not keep.all():
            self.steps, self.values, self.times = (
                array("d", np.frombuffer(kept)[keep].tobytes())
                for kept in (self.steps, self.values, self.times)
            )


class ScalarSource(ForeignSource):
    """Adds single values to the tables.

    A metric whose own step goes back was restarted: what it replaces is dropped, as by `History`.
    A step that is only behind those of *other* metrics (one counts epochs, another batches; or
    there are two writers) is out of order: the tables are then rebuilt from all values.
    """

    def __init__(self) -> None:
        super().__init__()
        self._series: dict[str, _Series] = {}
        self._kinds: dict[str, int] = {}
        self._front = {TRAIN: -np.inf, EVAL: -np.inf}
        self._out_of_order = 0
        self._last: dict[str, float] = {}

    def reset(self) -> None:
        """Drops all rows."""
        super().reset()
        self._series.clear()
        self._kinds.clear()
        self._front = {TRAIN: -np.inf, EVAL: -np.inf}
        self._out_of_order = 0
        self._last.clear()

    def has_room(self, name: str) -> bool:
        """Whether a metric is kept: at most `MOST_COLUMNS` are."""
        if name in self._kinds or len(self._kinds) < MOST_COLUMNS:
            return True
        self.rows.left_out = True
        return False

    def add_in_order(self, time: float, step: float, name: str, value: float) -> None:
        """Adds a value of a run with one writer, where a step behind its own metric is a
        restart."""
        if not self.has_room(name):
            return
        goes_back = step < self._last.get(name, step)
        if goes_back:
            self._last = {known: min(last, step) for known, last in self._last.items()}
        self._last[name] = step
        self.add(step, name, value, time, goes_back)

    def add(self, step: float, name: str, value: float, time: float, goes_back: bool) -> None:
        """Adds a value by canonical name; `goes_back` tells whether its writer restarted."""
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = EVAL if metric_names.is_eval(name) else TRAIN
            self._series.setdefault(name, _Series())
        if goes_back and kind == TRAIN:
            if self._out_of_order:  # rows are not added now, so the tables do not see the rewind
                self.history.rewinds = [*self.history.rewinds, (self._front[TRAIN], step)][-100:]
                self.history.rewind_count += 1
            for series in self._series.values():
                series.drop_from(step)
            self._front = {kind: min(front, step) for kind, front in self._front.items()}
        series = self._series[name]
        if goes_back and kind == EVAL:
            series.drop_from(step)
        series.add(step, value, time)
        if step < self._front[kind] and not goes_back:
            self._out_of_order += 1
        else:
            self._front[kind] = step
        if not self._out_of_order:
            self.rows.add(step, ((name, value),), time=time)

    def rebuild(self) -> bool:
        """Rebuilds the tables if values were out of order; whether it did."""
        if self._out_of_order < _REBUILD_AFTER:
            return False
        self._out_of_order = 0
        self.rows.take_rows()
        old, fresh = self.history, History()
        for kind in (TRAIN, EVAL):
            for rows in self._joined(kind):
                fresh.append(rows)
        fresh.rewinds, fresh.rewind_count = old.rewinds, old.rewind_count
        self.history = fresh
        return True

    def _joined(self, kind: int) -> list[DecodedRows]:
        """All values of one kind as rows by step, with the last value of each metric at a step."""
        series = {n: t for n, t in self._series.items() if self._kinds[n] == kind}
        if not series:
            return []
        steps = np.unique(np.concatenate([np.frombuffer(t.steps) for t in series.values()]))
        columns: dict[str, Column] = {"step": steps, "time": np.full(len(steps), -np.inf)}
        for name, one in series.items():
            at = np.searchsorted(steps, np.frombuffer(one.steps))
            columns[name] = np.full(len(steps), MISSING)
            columns[name][at] = measured(np.frombuffer(one.values))
            np.maximum.at(columns["time"], at, np.frombuffer(one.times))
        kinds = np.full(len(steps), kind, dtype=np.int8)
        return [
            DecodedRows(
                {n: c[at : at + _CHUNK] for n, c in columns.items()}, kinds[at : at + _CHUNK]
            )
            for at in range(0, len(steps), _CHUNK)
        ]
