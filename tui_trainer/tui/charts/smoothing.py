"""The debiased exponential moving average, whole or carried on as a run grows.

`s[i] = w * s[i-1] + (1 - w) * v[i]`, divided by `1 - w**n` after `n` values: the sum of the
weights so far, so that the start is not drawn towards zero. A missing value stays missing and
leaves the average as it was. An entry that is the mean of `c` values counts for all of them:
`w**c` takes the place of `w`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from tui_trainer.tui.charts.model import Array

Counts = NDArray[np.int32]
_BLOCK = 64
_FEW = 16  # values that are added one by one
_EMPTY = np.empty(0)


def smooth(values: Array, weight: float, counts: Counts | None = None) -> Array:
    """The average of `values`; `weight` of the past in 0..1, 0 is off. `counts` says how many
    values each entry is the mean of; one where it is None."""
    if not 0 < weight < 1:
        return values
    return Ema(weight).of(values, counts)


class Ema:
    """The average of one column that grows; only what is new costs more than a comparison."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._seen = _EMPTY
        self._counts: Counts | None = None
        self._result = _EMPTY
        self._mass = _EMPTY  # values up to each entry

    def of(self, values: Array, counts: Counts | None = None) -> Array:
        """The average of `values`, which may have grown, shrunk or changed since the last call.

        `values` must stay as they are; what is returned is overwritten at its end by the next
        call.
        """
        kept = _same(values, self._seen)
        if counts is not None or self._counts is not None:
            kept = min(kept, _same_counts(counts, self._counts, kept))
        if len(values) > len(self._result):
            size = max(len(values), 2 * len(self._result), 1024)
            self._result = _moved(self._result, kept, size)
            self._mass = _moved(self._mass, kept, size)
        self._go_on(values, counts, kept)
        self._seen, self._counts = values, counts
        return self._result[: len(values)]

    def _state(self, end: int) -> tuple[float, float]:
        """The undivided average and the number of values before an entry."""
        for at in range(end - 1, -1, -1):
            if math.isfinite(self._result[at]):
                mass = float(self._mass[at])
                return float(self._result[at]) * -math.expm1(mass * math.log(self.weight)), mass
        return 0.0, 0.0

    def _go_on(self, values: Array, counts: Counts | None, start: int) -> None:
        """Averages from `start` on."""
        fresh = values[start:]
        if not len(fresh):
            return
        total, mass = self._state(start)
        known = np.isfinite(fresh)
        present = fresh if known.all() else fresh[known]
        each = np.ones(len(present)) if counts is None else counts[start:][known].astype(float)
        averaged = self._averaged(present, each, total)
        masses = mass + np.cumsum(each)
        end = start + len(fresh)
        self._result[start:end][~known] = np.nan
        self._result[start:end][known] = averaged / -np.expm1(masses * math.log(self.weight))
        self._mass[start:end][known] = masses

    def _averaged(self, present: Array, counts: Array, total: float) -> Array:
        """The undivided averages, stretch by stretch of entries that count for as many values."""
        averaged = np.empty(len(present))
        changes = (np.flatnonzero(np.diff(counts)) + 1).tolist()
        for first, end in itertools.pairwise([0, *changes, len(present)]):
            if first == end:
                continue
            weight = self.weight ** counts[first]
            part = _recur(present[first:end] * (1 - weight), weight)
            if total:
                part = part + total * weight ** np.arange(1, end - first + 1, dtype=np.float64)
            averaged[first:end] = part
            total = float(part[-1])
        return averaged


class Averages:
    """The averages of a session, by what they are of; the longest unused are forgotten."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._found: dict[Hashable, Ema] = {}

    def of(
        self, name: Hashable, values: Array, weight: float, counts: Counts | None = None
    ) -> Array:
        """The average of the column called `name`; `values` themselves where smoothing is off."""
        if not 0 < weight < 1:
            return values
        key = (name, weight)
        ema = self._found.pop(key, None) or Ema(weight)
        self._found[key] = ema
        if len(self._found) > self._most:
            del self._found[next(iter(self._found))]
        return ema.of(values, counts)


def _same(values: Array, before: Array) -> int:
    """How many entries at the beginning are the very same bits."""
    count = min(len(values), len(before))
    mine = np.ascontiguousarray(values[:count]).view(np.int64)
    return _first_other(mine != np.ascontiguousarray(before[:count]).view(np.int64))


def _same_counts(counts: Counts | None, before: Counts | None, kept: int) -> int:
    """How many of the first `kept` entries count for as many values as before."""
    ones = np.ones(kept, dtype=np.int32)
    mine = ones if counts is None else counts[:kept]
    return _first_other(mine != (ones if before is None else before[:kept]))


def _first_other(other: NDArray[np.bool_]) -> int:
    at = int(np.argmax(other)) if len(other) else 0
    return at if len(other) and other[at] else len(other)


def _moved(values: Array, kept: int, size: int) -> Array:
    room = np.empty(size)
    room[:kept] = values[:kept]
    return room


def _recur(values: Array, weight: float) -> Array:
    """`s[i] = weight * s[i-1] + values[i]` by blocks: one product within the blocks, the same
    recurrence over the blocks' last values (64 times fewer), and one product to carry over."""
    count = len(values)
    if count <= _FEW:
        sums = itertools.accumulate(values.tolist(), lambda total, value: total * weight + value)
        return np.fromiter(sums, np.float64, count)
    blocks = -(-count // _BLOCK)
    padded = np.zeros(blocks * _BLOCK)
    padded[:count] = values
    powers, kernel = _kernel(weight)
    within = padded.reshape(blocks, _BLOCK) @ kernel
    if blocks > 1:
        ends = _recur(within[:-1, -1], float(powers[_BLOCK]))
        within[1:] += ends[:, None] * powers[None, 1:]
    return np.asarray(within.reshape(-1)[:count])


@functools.lru_cache(maxsize=64)
def _kernel(weight: float) -> tuple[Array, Array]:
    """The powers of a weight and the matrix that averages one block; read-only by custom."""
    powers = weight ** np.arange(_BLOCK + 1, dtype=np.float64)
    lag = np.arange(_BLOCK)[None, :] - np.arange(_BLOCK)[:, None]
    return powers, np.where(lag >= 0, powers[np.clip(lag, 0, _BLOCK)], 0.0)
