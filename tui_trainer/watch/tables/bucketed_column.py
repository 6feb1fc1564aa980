"""One column of a growing table: rows at first, later buckets of rows with minimum and maximum."""

from __future__ import annotations

import mmap
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_trainer.watch.snapshots import MISSING, Column, ColumnSummary, summarise

Counts = NDArray[np.int32]
_LARGE = 32 * 1024


@dataclass(frozen=True, eq=False)
class ColumnBuckets:
    """Entries of one column."""

    mean: Column  # of the finite values of each entry
    low: Column  # their minimum
    high: Column  # their maximum
    counts: Counts | None  # finite values of each entry; None: every row has one


class GrowingColumn:
    """The values of one column by entry. A column whose value has not changed takes no memory.

    Arrays are only written behind what snapshots contain, or replaced by new ones. Index columns
    (step, epoch, time) have the last row of a bucket instead of the mean, and no extremes.
    """

    def __init__(self, is_index: bool, count: int) -> None:
        self.is_index = is_index
        self.summary = ColumnSummary()
        self.thinned = False
        self._constant = MISSING
        self._is_constant = True
        self._has_rows = count > 0
        self._mean: Column = np.empty(0)
        self._low: Column | None = None
        self._high: Column | None = None
        self._counts: Counts | None = None

    def extend_constant(self, values: Column, steps: Column) -> bool:
        """Adds rows if all rows so far, and these, have the same value; whether they do."""
        if not (self._is_constant and self._is_constant_of(values)):
            return False
        self.summary = self.summary.followed_by(
            self._constant_summary(len(values), float(steps[0]))
        )
        return True

    def add(
        self, values: Column, summary: ColumnSummary, size: int, at: int, weights: Counts
    ) -> None:
        """Stores rows as entries.

        Args:
            values: one value per row.
            summary: the summary of these rows.
            size: rows per entry, a power of two.
            at: index of the first new entry.
            weights: number of rows of every entry, old and new.
        """
        self.summary = self.summary.followed_by(summary)
        if summary.count < len(values):
            values = np.where(np.isinf(values), np.nan, values)
        thin = self.thinned and not self.is_index
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
        """Merges the first `pairs` pairs of the `count` entries, in new arrays."""
        self.thinned = True
        if self._is_constant:
            return
        old, ends = self._stored(count, weights), 2 * pairs
        self._low = self._high = self._counts = None
        capacity = len(weights)
        if self.is_index:
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

    def drop(self, keep: int, count: int, steps: Column, weights: Counts, published: int) -> None:
        """Removes the entries from `keep` on; `steps` are those of the whole table."""
        if self._is_constant:
            self.summary = self._constant_summary(int(weights[:keep].sum()), self.summary.low_step)
            return
        old = self._stored(count, weights)
        dropped = np.isfinite(old.mean[keep:])
        rows = weights[keep:count][dropped] if old.counts is None else old.counts[keep:]
        self._recount(old, keep, steps, int(rows.sum()))
        if keep < published:
            self._mean = _grown(old.mean[:keep], len(self._mean))
            self._low = None if self._low is None else _grown(old.low[:keep], len(self._mean))
            self._high = None if self._high is None else _grown(old.high[:keep], len(self._mean))

    def values(self, count: int) -> Column:
        """The first `count` entries, read-only."""
        return self._frozen(self._mean, count)

    def extremes(self, count: int) -> tuple[Column, Column]:
        """Minimum and maximum of the first `count` entries, read-only."""
        if self._low is None or self._high is None:
            same = self.values(count)
            return same, same
        return self._frozen(self._low, count), self._frozen(self._high, count)

    def value(self, entry: int) -> float:
        """The value of one entry."""
        return self._constant if self._is_constant else float(self._mean[entry])

    @property
    def is_absent(self) -> bool:
        """Whether no row has this column."""
        return self._is_constant and bool(np.isnan(self._constant) & np.signbit(self._constant))

    def _frozen(self, array: Column, count: int) -> Column:
        if self._is_constant:
            view: Column = np.ndarray((count,), np.float64, np.array(self._constant), strides=(0,))
        else:
            view = array[:count]  # only the view becomes read-only
        view.flags.writeable = False
        return view

    def _constant_summary(self, rows: int, step: float) -> ColumnSummary:
        """The summary of `rows` rows of the constant, the first at `step`."""
        value = self._constant
        if not rows or not np.isfinite(value):
            return ColumnSummary()
        return ColumnSummary(rows, value, value, step, value, step)

    def _is_constant_of(self, values: Column) -> bool:
        """Whether all values equal the constant bit for bit; the first value of all sets it."""
        if not self._has_rows:
            self._has_rows = True
            self._constant = float(values[0])
        bits = values.view(np.int64)
        wanted = np.float64(self._constant).view(np.int64)
        return bool(bits[0] == wanted and (bits == wanted).all())

    def _reserve(self, at: int, end: int, weights: Counts) -> None:
        """Makes room for `end` entries; a constant column gets arrays."""
        capacity = len(weights)
        if self._is_constant:
            self._is_constant = False
            self._mean = _filled(self._constant, at, capacity)
            if self.thinned and not self.is_index:
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
        counts = None if self.is_index or finite.all() else np.where(finite, weights[:count], 0)
        return ColumnBuckets(mean, mean, mean, counts)

    def _recount(self, old: ColumnBuckets, keep: int, steps: Column, dropped: int) -> None:
        summary = self.summary
        finite = np.flatnonzero(np.isfinite(old.mean[:keep]))
        if not len(finite):
            self.summary = ColumnSummary()
            return
        low, low_step, high, high_step = (
            summary.low,
            summary.low_step,
            summary.high,
            summary.high_step,
        )
        after = float(steps[keep - 1])
        if low_step > after:
            index = int(np.nanargmin(old.low[:keep]))
            low, low_step = float(old.low[index]), float(steps[index])
        if high_step > after:
            index = int(np.nanargmax(old.high[:keep]))
            high, high_step = float(old.high[index]), float(steps[index])
        last = float(old.mean[finite[-1]])
        self.summary = ColumnSummary(summary.count - dropped, last, low, low_step, high, high_step)


def add_all(
    rest: list[tuple[GrowingColumn, Column]], steps: Column, size: int, at: int, weights: Counts
) -> None:
    """`add` for many columns at once: those that are all finite are reduced as one matrix."""
    matrix = np.array([values for _, values in rest])
    all_finite = np.isfinite(matrix).all(axis=1)
    lowest, highest = matrix.argmin(axis=1), matrix.argmax(axis=1)
    every = np.arange(len(rest))
    summary = zip(
        matrix[:, -1].tolist(),
        matrix[every, lowest].tolist(), steps[lowest].tolist(),
        matrix[every, highest].tolist(), steps[highest].tolist(),
        strict=True,
    )  # fmt: skip
    thin = np.array([column.thinned and not column.is_index for column, _ in rest])
    found = bucketed(matrix[all_finite & thin], size) if (all_finite & thin).any() else None
    row = 0
    for (column, values), is_finite, facts in zip(rest, all_finite.tolist(), summary, strict=True):
        if not is_finite:
            column.add(values, summarise(values, steps), size, at, weights)
        elif found is None or not column.thinned or column.is_index:
            column.add(values, ColumnSummary(len(values), *facts), size, at, weights)
        else:
            column.summary = column.summary.followed_by(ColumnSummary(len(values), *facts))
            column.put(
                ColumnBuckets(found.mean[row], found.low[row], found.high[row], None),
                at,
                weights,
            )
            row += 1


def bucketed(values: Column, size: int) -> ColumnBuckets:
    """Merges rows into buckets of `size` rows, a power of two that divides their number. `values`
    may have a second dimension, columns by rows, if all are finite."""
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
    """Merges pairs of entries of equal weight, all finite."""
    one, two = (..., slice(0, end, 2)), (..., slice(1, end, 2))
    return ColumnBuckets(
        old.mean[one] * 0.5 + old.mean[two] * 0.5,  # halved first: no overflow
        np.minimum(old.low[one], old.low[two]),
        np.maximum(old.high[one], old.high[two]),
        None,
    )


def _merged(old: ColumnBuckets, counts: Counts, end: int) -> ColumnBuckets:
    """Merges pairs of entries, weighted by their counts of finite values.

    A pair without a finite value is NaN if either entry was present, else missing.
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
