"""A table that grows at its end, in bounded memory, with read-only snapshots."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from tui_trainer.watch.snapshots import MISSING, Column, ColumnSummary, MetricTable, is_missing
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.bucketed_column import GrowingColumn, add_all

# Up to this many rows every entry is one row; beyond, entries are several rows each.
MOST_ENTRIES = 131_072
_FIRST_CAPACITY = 1024


class GrowingTable:
    """Rows in the order of their steps, in at most `most` entries (a multiple of 4).

    When the table is full, its entries are merged in pairs, and later rows are added in buckets
    of the same number of rows. Rows that do not fill a bucket are pending; a snapshot adds them
    as entries of one row, so the newest row is always an entry of its own and can be replaced.
    """

    def __init__(self, most: int = MOST_ENTRIES) -> None:
        self.most = most
        self.thinning = 1
        self._columns = {"step": GrowingColumn(True, 0)}
        self._weights = np.empty(min(_FIRST_CAPACITY, most), dtype=np.int32)
        self._count = 0
        self._published = 0
        self._rows = 0  # including the pending ones
        self._pending: dict[str, Column] = {}
        # Summaries of the rows before the newest, while that is an entry of its own behind buckets,
        # from which they could not be told exactly once it is replaced.
        self._earlier: dict[str, ColumnSummary] | None = None
        self._table: MetricTable | None = MetricTable()

    def __len__(self) -> int:
        """The number of rows."""
        return self._rows

    @property
    def last_step(self) -> float:
        """The step of the newest row, or minus infinity."""
        if self._pending:
            return float(self._pending["step"][-1])
        return self._columns["step"].value(self._count - 1) if self._count else -np.inf

    def table(self) -> MetricTable:
        """A read-only snapshot of the rows so far."""
        if self._table is None:
            pending, self._pending = self._pending, {}
            if pending:
                self._put_singly(_rows_of(pending, slice(0, -1)))
                self._earlier = {name: one.summary for name, one in self._columns.items()}
                self._put_singly(_rows_of(pending, slice(-1, None)))
            self._table = self._snapshot()
        return self._table

    def _put_singly(self, rows: dict[str, Column]) -> None:
        """Stores rows as entries of one row."""
        while len(rows["step"]):
            room = self.most - self._count
            if room:
                self._put(_rows_of(rows, slice(0, room)), 1)
                rows = _rows_of(rows, slice(room, None))
            else:
                self._halve()

    def drop_from(self, step: float) -> None:
        """Removes the rows from `step` on, with the whole of an entry that ends there or later."""
        if self._pending:
            steps = self._pending["step"]
            keep = int(np.searchsorted(steps, step, side="left"))
            if keep == len(steps):
                return
            self._rows -= len(steps) - keep
            self._pending = _rows_of(self._pending, slice(0, keep)) if keep else {}
            self._table = None
            if keep:
                return
        steps = self._columns["step"].values(self._count)
        keep = int(np.searchsorted(steps, step, side="left"))
        if keep < self._count:
            self._shorten(keep)

    def extend(self, columns: dict[str, Column]) -> None:
        """Appends rows.

        Consecutive rows of one step become one, with the last value of each column. A step that
        goes back replaces the rows from that step on, also those in `columns`.

        Args:
            columns: arrays of equal length by name; `step` is required and finite.
        """
        steps = columns["step"]
        if not len(steps):
            return
        if steps[0] == self.last_step and self._newest_stands_alone():
            # More values of the newest row: it is removed and merged with the new ones.
            columns = self._with_last_row(columns)
            steps = columns["step"]
        if not (steps[1:] > steps[:-1]).all():
            columns = _without_replaced(_one_row_a_step(columns))
            steps = columns["step"]
        if steps[0] <= self.last_step:
            self.drop_from(float(steps[0]))
        self._append(columns)

    def _append(self, columns: dict[str, Column]) -> None:
        self._rows += len(columns["step"])
        self._table = self._earlier = None
        if self._pending:
            columns = _joined(self._pending, columns)
            self._pending = {}
        while (left := len(columns["step"])) > 0:
            size = self.thinning
            # In a thinned table the newest row stays pending, so that it can be replaced.
            buckets = left if size == 1 else (left - 1) // size
            buckets = min(buckets, self.most - self._count)
            if buckets:
                taken = buckets * size
                self._put(_rows_of(columns, slice(0, taken)), size)
                columns = _rows_of(columns, slice(taken, None))
            elif self._count == self.most:
                self._halve()
            else:
                self._pending = columns
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
                self._columns[name] = GrowingColumn(name in metric_names.INDEX_COLUMNS, at)
                self._columns[name].thinned = self.thinning > 1
        missing: Column | None = None
        rest = []
        for name, column in self._columns.items():
            found = columns.get(name)
            if found is None:
                if missing is None:
                    missing = np.full(len(steps), MISSING)
                found = missing
            if not column.extend_constant(found, steps):
                rest.append((column, found))
        if rest:
            add_all(rest, steps, size, at, self._weights)
        self._count = end

    def _reserve(self, end: int) -> None:
        if end > len(self._weights):
            capacity = min(max(end, 2 * len(self._weights)), self.most)
            grown = np.empty(capacity, dtype=np.int32)
            grown[: self._count] = self._weights[: self._count]
            self._weights = grown

    def _halve(self) -> None:
        """Merges entries in pairs, except the newest, which is one row."""
        count, weights = self._count, self._weights
        pairs = (count - 1) // 2
        for column in self._columns.values():
            column.halve(pairs, count, weights)
        merged = np.empty(len(weights), dtype=np.int32)
        rest = count - 2 * pairs
        merged[:pairs] = weights[: 2 * pairs : 2] + weights[1 : 2 * pairs : 2]
        merged[pairs : pairs + rest] = weights[2 * pairs : count]
        self._weights, self._count, self._published = merged, pairs + rest, 0
        self.thinning *= 2

    def _shorten(self, keep: int) -> None:
        count, steps = self._count, self._columns["step"].values(self._count)
        earlier = self._earlier if keep == count - 1 else None
        for name, column in self._columns.items():
            column.drop(keep, count, steps, self._weights, self._published)
            if earlier is not None:
                column.summary = earlier.get(name, ColumnSummary())
        self._rows -= int(self._weights[keep:count].sum())
        if keep < self._published:
            self._weights = self._weights.copy()
            self._published = keep
        self._count = keep
        self._table = self._earlier = None

    def _newest_stands_alone(self) -> bool:
        return bool(self._pending) or self._weights[self._count - 1] == 1

    def _with_last_row(self, columns: dict[str, Column]) -> dict[str, Column]:
        if self._pending:
            last = {name: float(values[-1]) for name, values in self._pending.items()}
        else:
            last = {name: one.value(self._count - 1) for name, one in self._columns.items()}
        return _joined({name: np.array([value]) for name, value in last.items()}, columns)

    def _snapshot(self) -> MetricTable:
        count = self._count
        present = {name: one for name, one in self._columns.items() if not one.is_absent}
        self._published = count
        summaries = MappingProxyType({name: column.summary for name, column in present.items()})
        columns = MappingProxyType({n: column.values(count) for n, column in present.items()})
        if self.thinning == 1:
            return MetricTable(columns, summaries=summaries)
        extremes = {n: one.extremes(count) for n, one in present.items() if not one.is_index}
        weights = self._weights[:count]
        weights.flags.writeable = False
        return MetricTable(
            columns, self.thinning, MappingProxyType(extremes), summaries, weights, self._rows
        )


def _rows_of(columns: dict[str, Column], chosen: slice) -> dict[str, Column]:
    return {name: values[chosen] for name, values in columns.items()}


def _joined(first: dict[str, Column], second: dict[str, Column]) -> dict[str, Column]:
    """The rows of both, with the columns of either."""
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
    """Merges neighbouring rows of one step, with the last present value of each column."""
    steps = columns["step"]
    starts = np.flatnonzero(np.concatenate(([True], steps[1:] != steps[:-1])))
    if len(starts) == len(steps):
        return columns
    merged = {}
    rows = np.arange(len(steps))
    ends = np.append(starts[1:], len(steps)) - 1
    for name, values in columns.items():
        present = np.where(is_missing(values), -1, rows)
        newest = np.maximum.reduceat(present, starts)
        merged[name] = np.where(newest >= 0, values[np.maximum(newest, 0)], MISSING)
    merged["step"] = steps[ends]
    return merged


def _without_replaced(columns: dict[str, Column]) -> dict[str, Column]:
    """Removes rows that a later row with the same or a smaller step replaces."""
    steps = columns["step"]
    later = np.minimum.accumulate(np.append(steps[1:], np.inf)[::-1])[::-1]
    kept = steps < later
    if kept.all():
        return columns
    return {name: values[kept] for name, values in columns.items()}
