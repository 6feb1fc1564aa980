"""Histogram of the lengths of examples, in bins that end at `data.max_length`. No I/O."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tui_trainer.contracts.data_inspection import LengthBin

MOST_BINS = 24
_OUTLIERS = 0.99  # share of the examples after which bins end where few are far longer
_FAR = 2.0  # times the length at that share


def length_bins(lengths: npt.NDArray[np.int64], limit: int) -> list[LengthBin]:
    """Return bins of equal width, from that of the shortest example on; only the last one is wider,
    where a few examples are far longer than the others. `limit` ends a bin where
    examples are longer than it."""
    if not len(lengths):
        return []
    longest = int(lengths.max())
    end = longest
    usual = int(np.quantile(lengths, _OUTLIERS))
    if longest > _FAR * usual:
        end = max(int(_FAR * usual), 2)
    if longest > limit:  # the limit and what is beyond it stay visible
        end = max(end, min(longest, limit + limit // 8 + 1))
    width = _width(end, limit if longest > limit else None)
    starts = np.arange(0, end, width)
    counts = np.bincount(np.minimum((lengths - 1) // width, len(starts) - 1), minlength=len(starts))
    bins = [
        LengthBin(first=int(start) + 1, last=int(start) + width, examples=int(count))
        for start, count in zip(starts, counts, strict=True)
    ]
    last = bins[-1]
    bins[-1] = LengthBin(first=last.first, last=max(last.last, longest), examples=last.examples)
    used = next(at for at, one in enumerate(bins) if one.examples)
    return bins[used:]


def _width(end: int, limit: int | None) -> int:
    """Return the smallest round width that gives at most `MOST_BINS` bins; of the divisors of
    `limit`, where one of them is not much wider."""
    least = -(-end // MOST_BINS)
    if limit is not None:
        divisors = [width for width in range(least, 3 * least + 1) if limit % width == 0]
        if divisors:
            return divisors[0]
    scale = 1
    while True:
        for factor in (1, 2, 4, 5, 8):
            if factor * scale >= least:
                return factor * scale
        scale *= 10
