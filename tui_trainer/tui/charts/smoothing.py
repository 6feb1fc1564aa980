"""The debiased exponential moving average, computed at once or continued as a run grows.

`s[i] = w * s[i-1] + (1 - w) * v[i]`, divided by `1 - w**n` after `n` values: the sum of the
weights so far, so that the start is not biased towards zero. A missing value remains missing and
does not change the average. An entry that is the mean of `c` values counts for all of them:
`w**c` takes the place of `w`.

Unless a weight is given it follows from the number of points, see `auto_weight`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from tui_trainer.tui.charts.model import Array

Counts = NDArray[np.int32]
_BLOCK, _LEAST_BLOCK = 64, 4
_FEW = 16  # values that are averaged one by one
_MOST_DECAY = 300.0  # within a block: its exponential is far from overflow
_EXACT = -40.0  # 1 - exp(-40) is 1 in double precision
_EMPTY = np.empty(0)
_UNSMOOTHED = 50  # points, below which a line shows the values themselves
_STEPS = 4  # of the automatic weight while the number of points doubles


def auto_weight(points: float) -> float:
    """The weight of the past for this number of points; 0 (no smoothing) below about fifty.

    With the weight `w` an exponential average has the span `(1 + w) / (1 - w)`, and lags behind a
    slope by `w / (1 - w)` points. A span of a fiftieth of the points, `w = (n - 50) / (n + 50)`,
    lags by less than a hundredth of them: about one column of a chart for a run of any length, so
    the line ends near the last values. It grows in steps, so that a growing run is not averaged
    again at every row.
    """
    steps = math.floor(_STEPS * math.log2(points / _UNSMOOTHED)) if points > _UNSMOOTHED else 0
    counted: float = _UNSMOOTHED * 2.0 ** (steps / _STEPS)
    return (counted - _UNSMOOTHED) / (counted + _UNSMOOTHED)


def weight_text(weight: float) -> str:
    """A weight as a legend shows it: its distance from 1 to one digit, at most to four places."""
    return f"{1 - float(f'{1 - weight:.1g}'):.10g}" if 0 < weight < 1 else "0"


def smooth(values: Array, weight: float, counts: Counts | None = None) -> Array:
    """The average of `values`; `weight` of the past in 0..1, 0 is off. `counts` says how many
    values each entry is the mean of; one where it is None."""
    if not 0 < weight < 1:
        return values
    return Ema(weight).of(values, counts)


class Ema:
    """The average of one growing column; old values cost only a comparison."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._seen = _EMPTY
        self._counts: Counts | None = None
        self._result = _EMPTY
        self._mass = _EMPTY  # values up to each entry

    def of(self, values: Array, counts: Counts | None = None) -> Array:
        """The average of `values`, which may have grown, shrunk or changed since the last call.

        `values` must not be changed later; the end of the result is overwritten by the next call.
        """
        kept = _same(values, self._seen)
        if counts is not None or self._counts is not None:
            kept = min(kept, _same_counts(counts, self._counts, kept))
        if len(values) > len(self._result):
            size = max(len(values), 2 * len(self._result), 1024)
            self._result = _moved(self._result, kept, size)
            self._mass = _moved(self._mass, kept, size)
        self._continue(values, counts, kept)
        self._seen, self._counts = values, counts
        return self._result[: len(values)]

    def _state(self, end: int) -> tuple[float, float]:
        """The undivided average and the number of values before an entry."""
        for at in range(end - 1, -1, -1):
            if math.isfinite(self._result[at]):
                mass = float(self._mass[at])
                return float(self._result[at]) * -math.expm1(mass * math.log(self.weight)), mass
        return 0.0, 0.0

    def _continue(self, values: Array, counts: Counts | None, start: int) -> None:
        """Continue the average from index `start`."""
        fresh = values[start:]
        if not len(fresh):
            return
        total, mass = self._state(start)
        known = np.isfinite(fresh)
        whole = bool(known.all())
        present = fresh if whole else fresh[known]
        each = np.ones(len(present)) if counts is None else counts[start:][known].astype(float)
        averaged = self._averaged(present, each, total)
        masses = np.cumsum(each, out=each)
        masses += mass
        # After that the divisor is exactly 1 in double precision.
        early = int(np.searchsorted(masses, _EXACT / math.log(self.weight)))
        averaged[:early] /= -np.expm1(masses[:early] * math.log(self.weight))
        end = start + len(fresh)
        if whole:
            self._result[start:end], self._mass[start:end] = averaged, masses
        else:
            self._result[start:end] = np.nan
            self._result[start:end][known] = averaged
            self._mass[start:end][known] = masses

    def _averaged(self, present: Array, counts: Array, total: float) -> Array:
        """The undivided averages of entries that count for `counts` values each."""
        decay = counts * -math.log(self.weight)
        fresh = np.expm1(np.negative(decay))
        fresh *= present  # in place: new memory costs as much as the arithmetic
        return _recur(np.negative(fresh, out=fresh), decay, total)


class SmoothingCache:
    """The averages of a session by name; the least recently used are dropped."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._found: dict[Hashable, Ema] = {}

    def of(
        self, name: Hashable, values: Array, weight: float, counts: Counts | None = None
    ) -> Array:
        """The average of the column called `name`; `values` themselves without smoothing."""
        if not 0 < weight < 1:
            return values
        ema = self._found.pop(name, None)
        if ema is None or ema.weight != weight:
            ema = Ema(weight)
        self._found[name] = ema
        if len(self._found) > self._most:
            del self._found[next(iter(self._found))]
        return ema.of(values, counts)


def _same(values: Array, before: Array) -> int:
    """The number of leading entries that are equal bit by bit."""
    count = min(len(values), len(before))
    mine = np.ascontiguousarray(values[:count]).view(np.int64)
    return _first_other(mine != np.ascontiguousarray(before[:count]).view(np.int64))


def _same_counts(counts: Counts | None, before: Counts | None, kept: int) -> int:
    """The number of leading entries (of `kept`) with the same count as before."""
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


def _recur(values: Array, decay: Array, before: float) -> Array:
    """`s[i] = exp(-decay[i]) * s[i-1] + values[i]`, with `before` as `s[-1]`.

    In blocks: each is a cumulative sum of `values[j] * exp(decay[0] + ... + decay[j])` up to `i`,
    divided by the exponential for `i`; the last values of the blocks are chained one by one.
    """
    count = len(values)
    size = min(_BLOCK, int(_MOST_DECAY / decay.max())) if count > _FEW else 0
    if size < _LEAST_BLOCK:
        return np.array(_chain(np.exp(-decay), values, before)[1:])
    blocks = -(-count // size)
    grown, sums = np.zeros((2, blocks, size))
    grown.reshape(-1)[:count], sums.reshape(-1)[:count] = decay, values
    np.exp(np.cumsum(grown, axis=1, out=grown), out=grown)
    sums *= grown
    np.cumsum(sums, axis=1, out=sums)
    left = 1 / grown[:, -1]
    starts = _chain(left, sums[:, -1] * left, before)[:-1]
    sums += np.array(starts)[:, None]
    sums /= grown
    return np.asarray(sums.reshape(-1)[:count])


def _chain(left: Array, values: Array, before: float) -> list[float]:
    """`s[0] = before`, then `s[i+1] = left[i] * s[i] + values[i]`."""
    pairs = zip(left.tolist(), values.tolist(), strict=True)
    return [*itertools.accumulate(pairs, lambda s, pair: s * pair[0] + pair[1], initial=before)]
