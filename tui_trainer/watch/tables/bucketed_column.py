"""One column of a growing table: rows at first, later buckets of rows with least and greatest."""

from __future__ import annotations

import mmap
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_trainer.watch.snapshots import MISSING, Column, ColumnSummary, known_of

Counts = NDArray[np.int32]
_LARGE = 32 * 1024


@dataclass(frozen=True, eq=False)
class ColumnBuckets:
    """Entries of one column: mean, least and greatest finite value of each, and how many finite
    values it has (None: every row has one)."""

    mean: Column
    low: Column
    high: Column
    counts: Counts | None


class GrowingColumn:
    """Values by entry. One that has been the same so far takes no memory.

    Arrays are only written behind what was handed out, or replaced by new ones. Columns that are
    `places` keep the last row of a bucket and have no extremes.
    """

    def __init__(self, is_place: bool, count: int) -> None:
        self.is_place = is_place
        self.known = ColumnSummary()
        self.thinned = False
        self._constant = MISSING
        self._is_constant = True
        self._begun = count > 0
        self._mean: Column = np.empty(0)
        self._low: Column | None = None
        self._high: Column | None = None
        self._counts: Counts | None = None

    def goes_on(self, values: Column, steps: Column) -> bool:
        """Whether rows are taken in by just knowing that all so far have the one value."""
        if not (self._is_constant and self._is_constant_of(values)):
            return False
        self.known = self.known.joined(self._known_of_same(len(values), float(steps[0])))
        return True

    def add(
        self, values: Column, known: ColumnSummary, size: int, at: int, weights: Counts
    ) -> None:
        """Stores rows as entries of `size` rows each (a power of two) from entry `at` on.

        `known` is what is known of the rows, `weights` the rows of every entry, those before
        `at` and the new ones.
        """
        self.known = self.known.joined(known)
        if known.count < len(values):
            values = np.where(np.isinf(values), np.nan, values)
        thin = self.thinned and not self.is_place
        if thin:
            self.put(bucketed(values, size), at, weights)
        else:
            end = at + len(values) // size
            self._reserve(at, end, weights)
            self._mean[at:end] = values[size - 1 :: size] if size > 1 else values

    def put(self, fresh: ColumnBuckets, at: int, weights: Counts) -> None:
        """Stores entries of a thinned column."""
        end = at + len(fresh.mean)
        self._reserve(at, end, weights)
        self._mean[at:end] = fresh.mean
        if self._low is not None and self._high is not None:
            self._low[at:end], self._high[at:end] = fresh.low, fresh.high
        if fresh.counts is not None and self._counts is None:
            self._counts = np.empty(len(self._mean), dtype=np.int32)
            self._counts[:at] = weights[:at]
        if self._counts is not None:
            self._counts[at:end] = weights[at:end] if fresh.counts is None else fresh.counts

    def halve(self, pairs: int, count: int, weights: Counts) -> None:
        """Merges the first `pairs` pairs of `count` entries and keeps the rest, in new arrays."""
        self.thinned = True
        if self._is_constant:
            return
        old, ends = self._stored(count, weights), 2 * pairs
        self._low = self._high = self._counts = None
        capacity = len(weights)
        if self.is_place:
            self._mean = _spliced(old.mean[1:ends:2], old.mean[ends:], capacity)
            return
        counts = weights[:count] if old.counts is None else old.counts
        same = old.counts is None and bool((weights[:ends] == weights[0]).all())
        merged = _merged_evenly(old, ends) if same else _merged(old, counts, ends)
        self._mean = _spliced(merged.mean, old.mean[ends:], capacity)
        self._low = _spliced(merged.low, old.low[ends:], capacity)
        self._high = _spliced(merged.high, old.high[ends:], capacity)
        if old.counts is not None and merged.counts is not None:
            self._counts = np.empty(capacity, dtype=np.int32)
            self._counts[: pairs + count - ends] = np.concatenate(
                (merged.counts, old.counts[ends:])
            )

    def drop(self, keep: int, count: int, steps: Column, weights: Counts, handed_out: int) -> None:
        """Takes back the entries from `keep` on; `steps` are all of the table's."""
        if self._is_constant:
            self.known = self._known_of_same(int(weights[:keep].sum()), self.known.low_step)
            return
        old = self._stored(count, weights)
        dropped = np.isfinite(old.mean[keep:])
        rows = weights[keep:count][dropped] if old.counts is None else old.counts[keep:]
        self._recount(old, keep, steps, int(rows.sum()))
        if keep < handed_out:
            self._mean = _grown(old.mean[:keep], len(self._mean))
            self._low = None if self._low is None else _grown(old.low[:keep], len(self._mean))
            self._high = None if self._high is None else _grown(old.high[:keep], len(self._mean))

    def values(self, count: int) -> Column:
        """The first `count` entries, read-only."""
        return self._frozen(self._mean, count)

    def extremes(self, count: int) -> tuple[Column, Column]:
        """The least and greatest finite value of the first `count` entries, read-only."""
        if self._low is None or self._high is None:
            same = self.values(count)
            return same, same
        return self._frozen(self._low, count), self._frozen(self._high, count)

    def value(self, entry: int) -> float:
        """The value of one entry."""
        return self._constant if self._is_constant else float(self._mean[entry])

    @property
    def is_absent(self) -> bool:
        """Whether no row has had it."""
        return self._is_constant and bool(np.isnan(self._constant) & np.signbit(self._constant))

    def _frozen(self, array: Column, count: int) -> Column:
        if self._is_constant:
            view: Column = np.ndarray((count,), np.float64, np.array(self._constant), strides=(0,))
        else:
            view = array[:count]  # a view of its own; the array stays writable
        view.flags.writeable = False
        return view

    def _known_of_same(self, rows: int, step: float) -> ColumnSummary:
        """What is known of `rows` rows of the constant, the first at `step`."""
        value = self._constant
        if not rows or not np.isfinite(value):
            return ColumnSummary()
        return ColumnSummary(rows, value, value, step, value, step)

    def _is_constant_of(self, values: Column) -> bool:
        """Whether all values are the constant, to the bit; the first value ever makes it."""
        if not self._begun:
            self._begun = True
            self._constant = float(values[0])
        bits = values.view(np.int64)
        wanted = np.float64(self._constant).view(np.int64)
        return bool(bits[0] == wanted and (bits == wanted).all())

    def _reserve(self, at: int, end: int, weights: Counts) -> None:
        """Makes room for `end` entries, and real arrays of a constant."""
        capacity = len(weights)
        if self._is_constant:
            self._is_constant = False
            self._mean = _filled(self._constant, at, capacity)
            if self.thinned and not self.is_place:
                self._low = _filled(self._constant, at, capacity)
                self._high = _filled(self._constant, at, capacity)
                if not np.isfinite(self._constant):
                    self._counts = np.zeros(capacity, dtype=np.int32)
        elif end > len(self._mean):
            self._mean = _grown(self._mean[:at], capacity)

    def _stored(self, count: int, weights: Counts) -> ColumnBuckets:
        mean = self._mean[:count]
        if self._low is not None and self._high is not None:
            counts = None if self._counts is None else self._counts[:count]
            return ColumnBuckets(mean, self._low[:count], self._high[:count], counts)
        finite = np.isfinite(mean)
        counts = None if self.is_place or finite.all() else np.where(finite, weights[:count], 0)
        return ColumnBuckets(mean, mean, mean, counts)

    def _recount(self, old: ColumnBuckets, keep: int, steps: Column, dropped: int) -> None:
        known = self.known
        finite = np.flatnonzero(np.isfinite(old.mean[:keep]))
        if not len(finite):
            self.known = ColumnSummary()
            return
        low, low_step, high, high_step = known.low, known.low_step, known.high, known.high_step
        after = float(steps[keep - 1])
        if low_step > after:
            place = int(np.nanargmin(old.low[:keep]))
            low, low_step = float(old.low[place]), float(steps[place])
        if high_step > after:
            place = int(np.nanargmax(old.high[:keep]))
            high, high_step = float(old.high[place]), float(steps[place])
        last = float(old.mean[finite[-1]])
        self.known = ColumnSummary(known.count - dropped, last, low, low_step, high, high_step)


def add_all(
    rest: list[tuple[GrowingColumn, Column]], steps: Column, size: int, at: int, weights: Counts
) -> None:
    """`add` for many columns at once: what is finite is reduced in one matrix."""
    matrix = np.array([values for _, values in rest])
    whole = np.isfinite(matrix).all(axis=1)
    least, most = matrix.argmin(axis=1), matrix.argmax(axis=1)
    every = np.arange(len(rest))
    known = zip(
        matrix[:, -1].tolist(),
        matrix[every, least].tolist(), steps[least].tolist(),
        matrix[every, most].tolist(), steps[most].tolist(),
        strict=True,
    )  # fmt: skip
    thin = np.array([column.thinned and not column.is_place for column, _ in rest])
    found = bucketed(matrix[whole & thin], size) if (whole & thin).any() else None
    line = 0
    for (column, values), fine, facts in zip(rest, whole.tolist(), known, strict=True):
        if not fine:
            column.add(values, known_of(values, steps), size, at, weights)
        elif found is None or not column.thinned or column.is_place:
            column.add(values, ColumnSummary(len(values), *facts), size, at, weights)
        else:
            column.known = column.known.joined(ColumnSummary(len(values), *facts))
            column.put(
                ColumnBuckets(found.mean[line], found.low[line], found.high[line], None),
                at,
                weights,
            )
            line += 1


def bucketed(values: Column, size: int) -> ColumnBuckets:
    """Rows to buckets of `size` rows each, a power of two that divides their number; of many
    columns at once where all is finite."""
    finite = np.isfinite(values)
    if finite.all():
        found = ColumnBuckets(values, values, values, None)
        while size > 1:
            found, size = _merged_evenly(found, found.mean.shape[-1]), size // 2
        return found
    counts = finite.astype(np.int32)
    found = ColumnBuckets(values, values, values, counts)
    while size > 1:
        found, size = _merged(found, counts, len(found.mean)), size // 2
        counts = counts[::2] + counts[1::2]
    return found


def _merged_evenly(old: ColumnBuckets, end: int) -> ColumnBuckets:
    """Pairs of entries of equal weight, all finite."""
    one, two = (..., slice(0, end, 2)), (..., slice(1, end, 2))
    return ColumnBuckets(
        old.mean[one] * 0.5 + old.mean[two] * 0.5,  # halved first: no overflow
        np.minimum(old.low[one], old.low[two]),
        np.maximum(old.high[one], old.high[two]),
        None,
    )


def _merged(old: ColumnBuckets, counts: Counts, end: int) -> ColumnBuckets:
    """Pairs of entries by their counts of finite values.

    A pair without one is measured (NaN) where either was, else missing.
    """
    one, two = slice(0, end, 2), slice(1, end, 2)
    first, second, left, right = old.mean[one], old.mean[two], counts[one], counts[two]
    total = left + right
    share = right / np.maximum(total, 1)
    with np.errstate(invalid="ignore"):
        both = first * (1 - share) + second * share
    neither = np.where(np.signbit(first), second, first)
    mean = np.where(right == 0, first, np.where(left == 0, second, both))
    return ColumnBuckets(
        np.where(total == 0, neither, mean),
        np.fmin(old.low[one], old.low[two]),
        np.fmax(old.high[one], old.high[two]),
        total,
    )


def _filled(value: float, count: int, capacity: int) -> Column:
    fresh = _empty(capacity)
    fresh[:count] = value
    return fresh


def _grown(values: Column, capacity: int) -> Column:
    fresh = _empty(capacity)
    fresh[: len(values)] = values
    return fresh


def _spliced(first: Column, second: Column, capacity: int) -> Column:
    fresh, end = _empty(capacity), len(first) + len(second)
    fresh[: len(first)], fresh[len(first) : end] = first, second
    return fresh


def _empty(capacity: int) -> Column:
    """Large arrays lie in pages of their own, so that what is freed goes back to the system
    (from the heap it would not)."""
    if capacity < _LARGE:
        return np.empty(capacity)
    if sys.platform == "win32":
        pages = mmap.mmap(-1, capacity * 8)
    else:
        pages = mmap.mmap(-1, capacity * 8, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(pages, dtype=np.float64)
