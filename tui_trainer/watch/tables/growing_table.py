"""A table that grows at the end, in bounded memory, and hands out frozen snapshots."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from tui_trainer.watch.snapshots import MISSING, Column, MetricTable
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.bucketed_column import GrowingColumn, add_all
from tui_trainer.watch.tables.metric_decoder import is_missing

# Exact up to this many rows; beyond, entries stand for several rows each.
MOST_ENTRIES = 131_072
_FIRST_CAPACITY = 1024


class GrowingTable:
    """Rows by step, steps never falling, at most `most` entries (a multiple of 4).

    Where the table is full, its entries are merged two by two, and later rows come in buckets of
    as many rows. Rows that do not fill a bucket wait; a snapshot takes them as entries of one row
    each, so the newest row always stands alone and can be taken back.
    """

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self.most = most
        self.thinning = 1
        self._columns = {"step": GrowingColumn(True, 0)}
        self._weights = np.empty(min(_FIRST_CAPACITY, most), dtype=np.int32)
        self._count = 0
        self._handed_out = 0
        self._rows = 0  # the waiting ones among them
        self._waiting: dict[str, Column] = {}
        self._table: MetricTable | None = MetricTable()

    def __len__(self) -> int:
        """Rows in all."""
        return self._rows

    @property
    def last_step(self) -> float:
        """The newest row's step, below every other where there is no row."""
        if self._waiting:
            return float(self._waiting["step"][-1])
        return self._columns["step"].value(self._count - 1) if self._count else -np.inf

    def table(self) -> MetricTable:
        """The rows so far, read-only."""
        if self._table is None:
            waiting, self._waiting = self._waiting, {}
            while waiting:
                room = self.most - self._count
                if room:
                    self._put(_rows_of(waiting, slice(0, room)), 1)
                    waiting = _rows_of(waiting, slice(room, None))
                    waiting = waiting if len(waiting["step"]) else {}
                else:
                    self._halve()
            self._table = self._snapshot()
        return self._table

    def drop_from(self, step: float) -> None:
        """Takes back the rows from `step` on, and an entry that ends there or later whole."""
        if self._waiting:
            steps = self._waiting["step"]
            keep = int(np.searchsorted(steps, step, side="left"))
            if keep == len(steps):
                return
            self._rows -= len(steps) - keep
            self._waiting = _rows_of(self._waiting, slice(0, keep)) if keep else {}
            self._table = None
            if keep:
                return
        steps = self._columns["step"].values(self._count)
        keep = int(np.searchsorted(steps, step, side="left"))
        if keep < self._count:
            self._shorten(keep)

    def extend(self, columns: dict[str, Column]) -> None:
        """Appends rows; `columns` holds `step` (finite), all of one length.

        Rows of one step in a row become one, a later value winning over an earlier. A step that
        goes back replaces the rows from it on, those among `columns` too.
        """
        steps = columns["step"]
        if not len(steps):
            return
        if steps[0] == self.last_step and self._newest_stands_alone():
            # The newest row goes on: it is taken back and merged with the new ones.
            columns = self._with_last_row(columns)
            steps = columns["step"]
        if not (steps[1:] > steps[:-1]).all():
            columns = _last_word(_one_row_a_step(columns))
            steps = columns["step"]
        if steps[0] <= self.last_step:
            self.drop_from(float(steps[0]))
        self._append(columns)

    def _append(self, columns: dict[str, Column]) -> None:
        self._rows += len(columns["step"])
        self._table = None
        if self._waiting:
            columns = _joined(self._waiting, columns)
            self._waiting = {}
        while (left := len(columns["step"])) > 0:
            size = self.thinning
            # Of a thinned table the newest row waits, so that it can be taken back.
            buckets = left if size == 1 else (left - 1) // size
            buckets = min(buckets, self.most - self._count)
            if buckets:
                taken = buckets * size
                self._put(_rows_of(columns, slice(0, taken)), size)
                columns = _rows_of(columns, slice(taken, None))
            elif self._count == self.most:
                self._halve()
            else:
                self._waiting = columns
                return

    def _put(self, columns: dict[str, Column], size: int) -> None:
        """Stores rows as entries of `size` rows."""
        steps, at = columns["step"], self._count
        end = at + len(steps) // size
        self._reserve(end)
        self._weights[at:end] = size
        for name, values in columns.items():
            if name not in self._columns:
                if bool(is_missing(values).all()):
                    continue
                self._columns[name] = GrowingColumn(name in metric_names.PLACES, at)
                self._columns[name].thinned = self.thinning > 1
        lacking: Column | None = None
        rest = []
        for name, column in self._columns.items():
            found = columns.get(name)
            if found is None:
                if lacking is None:
                    lacking = np.full(len(steps), MISSING)
                found = lacking
            if not column.goes_on(found, steps):
                rest.append((column, found))
        if rest:
            add_all(rest, steps, size, at, self._weights)
        self._count = end

    def _reserve(self, end: int) -> None:
        if end > len(self._weights):
            capacity = min(max(end, 2 * len(self._weights)), self.most)
            fresh = np.empty(capacity, dtype=np.int32)
            fresh[: self._count] = self._weights[: self._count]
            self._weights = fresh

    def _halve(self) -> None:
        """Merges entries two by two; the newest, a row of its own, stays."""
        count, weights = self._count, self._weights
        pairs = (count - 1) // 2
        for column in self._columns.values():
            column.halve(pairs, count, weights)
        fresh = np.empty(len(weights), dtype=np.int32)
        rest = count - 2 * pairs
        fresh[:pairs] = weights[: 2 * pairs : 2] + weights[1 : 2 * pairs : 2]
        fresh[pairs : pairs + rest] = weights[2 * pairs : count]
        self._weights, self._count, self._handed_out = fresh, pairs + rest, 0
        self.thinning *= 2

    def _shorten(self, keep: int) -> None:
        count, steps = self._count, self._columns["step"].values(self._count)
        for column in self._columns.values():
            column.drop(keep, count, steps, self._weights, self._handed_out)
        self._rows -= int(self._weights[keep:count].sum())
        if keep < self._handed_out:
            self._weights = self._weights.copy()
            self._handed_out = keep
        self._count = keep
        self._table = None

    def _newest_stands_alone(self) -> bool:
        return bool(self._waiting) or self._weights[self._count - 1] == 1

    def _with_last_row(self, columns: dict[str, Column]) -> dict[str, Column]:
        if self._waiting:
            last = {name: float(values[-1]) for name, values in self._waiting.items()}
        else:
            last = {name: one.value(self._count - 1) for name, one in self._columns.items()}
        return _joined({name: np.array([value]) for name, value in last.items()}, columns)

    def _snapshot(self) -> MetricTable:
        count = self._count
        present = {name: one for name, one in self._columns.items() if not one.is_absent}
        self._handed_out = count
        known = MappingProxyType({name: column.known for name, column in present.items()})
        columns = MappingProxyType({n: column.values(count) for n, column in present.items()})
        if self.thinning == 1:
            return MetricTable(columns, known=known)
        extremes = {n: one.extremes(count) for n, one in present.items() if not one.is_place}
        weights = self._weights[:count]
        weights.flags.writeable = False
        return MetricTable(
            columns, self.thinning, MappingProxyType(extremes), known, weights, self._rows
        )


def _rows_of(columns: dict[str, Column], chosen: slice) -> dict[str, Column]:
    return {name: values[chosen] for name, values in columns.items()}


def _joined(first: dict[str, Column], second: dict[str, Column]) -> dict[str, Column]:
    """The rows of both, each with the columns of either."""
    counts = len(first["step"]), len(second["step"])
    joined = {}
    for name in first | second:  # in order of appearance
        parts = [
            part[name] if name in part else np.full(count, MISSING)
            for part, count in zip((first, second), counts, strict=True)
        ]
        joined[name] = np.concatenate(parts)
    return joined


def _one_row_a_step(columns: dict[str, Column]) -> dict[str, Column]:
    """Merges neighbouring rows of one step, the last present value of each column standing."""
    steps = columns["step"]
    begins = np.flatnonzero(np.concatenate(([True], steps[1:] != steps[:-1])))
    if len(begins) == len(steps):
        return columns
    merged = {}
    places = np.arange(len(steps))
    ends = np.append(begins[1:], len(steps)) - 1
    for name, values in columns.items():
        present = np.where(is_missing(values), -1, places)
        newest = np.maximum.reduceat(present, begins)
        merged[name] = np.where(newest >= 0, values[np.maximum(newest, 0)], MISSING)
    merged["step"] = steps[ends]
    return merged


def _last_word(columns: dict[str, Column]) -> dict[str, Column]:
    """Leaves out rows that a later row with the same or a smaller step replaces."""
    steps = columns["step"]
    later = np.minimum.accumulate(np.append(steps[1:], np.inf)[::-1])[::-1]
    stands = steps < later
    if stands.all():
        return columns
    return {name: values[stands] for name, values in columns.items()}
