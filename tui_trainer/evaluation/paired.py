"""Comparison of two models on the same items: exact McNemar test and paired bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tui_trainer.contracts.evaluation import Paired, Verdict

if TYPE_CHECKING:  # numpy takes a tenth of a second, and few commands need it
    import numpy as np

LEVEL = 0.05  # probability of calling two equal models different, at most
# Items that must differ before the bootstrap is trusted: with fewer, the resampled means vary less
# than those of new items would.
LEAST_DIFFERING = 10
RESAMPLES = 10_000
CORPUS_RESAMPLES = 1_000  # of a score of all items together, which takes longer to compute
_MOST_DRAWS = 20_000_000  # resamples times items, at most
_CHUNK = 2_000_000  # random numbers in memory at a time
_ROUNDING = 1e-9  # differences up to this come from rounding


def mcnemar_p(lost: int, won: int) -> float:
    """Return the exact two-sided p-value of McNemar's test: the probability that `lost + won` fair
    coins fall at least as unevenly."""
    total = lost + won
    fewer = min(lost, won)
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
        for k in range(fewer + 1)
    ]
    highest = max(logs)
    tail = math.exp(highest - total * math.log(2)) * sum(math.exp(log - highest) for log in logs)
    return min(1.0, 2 * tail)


def compare_right(
    metric: str, before: Sequence[bool], after: Sequence[bool], level: float = LEVEL
) -> Paired:
    """Compare which items two models have right, by the exact McNemar test.

    "too few to tell": the models differ in so few items that no split of them could be significant.
    """
    pairs = list(zip(before, after, strict=True))
    lost = sum(one and not other for one, other in pairs)
    won = sum(other and not one for one, other in pairs)
    p = mcnemar_p(lost, won)
    verdict: Verdict = "no difference shown"
    if p < level:
        verdict = "worse" if lost > won else "better"
    elif mcnemar_p(0, lost + won) >= level and lost + won:
        verdict = "too few to tell"
    count = max(1, len(pairs))
    return Paired(
        metric=metric,
        test="exact McNemar",
        items=len(pairs),
        before=sum(before) / count,
        after=sum(after) / count,
        p=p,
        lost=lost,
        won=won,
        verdict=verdict,
    )


def compare_means(
    metric: str,
    before: Sequence[float],
    after: Sequence[float],
    *,
    higher: bool = True,
    level: float = LEVEL,
    seed: int = 0,
) -> Paired:
    """Compare the means of a metric, by the percentile interval of a paired bootstrap.

    higher: whether a higher value is better.
    level: 1 minus the interval's confidence.

    "too few to tell": fewer than `LEAST_DIFFERING` items differ.
    """
    import numpy as np

    first, second = np.array(before, dtype=np.float64), np.array(after, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError("both models must be measured on the same items")
    differences = second - first
    differing = int((np.abs(differences) > _ROUNDING).sum())
    low, high = (0.0, 0.0) if not differing else _interval(differences, level, seed)
    verdict: Verdict = "no difference shown"
    if differing and differing < LEAST_DIFFERING:
        verdict = "too few to tell"
    elif low > 0 or high < 0:
        verdict = "better" if (low > 0) == higher else "worse"
    return Paired(
        metric=metric,
        test="paired bootstrap",
        items=len(differences),
        before=float(first.mean()) if len(first) else 0.0,
        after=float(second.mean()) if len(second) else 0.0,
        low=low,
        high=high,
        verdict=verdict,
    )


def compare_corpus(
    metric: str,
    before: Sequence[Sequence[float]],
    after: Sequence[Sequence[float]],
    score: Callable[[list[float]], float],
    *,
    level: float = LEVEL,
    seed: int = 0,
) -> Paired:
    """Compare a score of all items together, such as BLEU, by a paired bootstrap (Koehn 2004): the
    statistics of the same resampled items are added up for both models, and scored.

    before, after: the statistics of each item, (items, numbers).
    score: from the sums over the items to the score.

    "too few to tell": fewer than `LEAST_DIFFERING` items differ.
    """
    import numpy as np

    first, second = np.array(before, dtype=np.float64), np.array(after, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError("both models must be measured on the same items")
    count = len(first)
    differing = int((first != second).any(axis=1).sum())
    low = high = 0.0
    if differing:
        generator = np.random.default_rng(seed)
        changes = []
        for _ in range(CORPUS_RESAMPLES):
            weights = np.bincount(generator.integers(0, count, count), minlength=count)
            one, two = weights @ first, weights @ second
            changes.append(score(two.tolist()) - score(one.tolist()))
        found = np.quantile(changes, (level / 2, 1 - level / 2))
        low, high = float(found[0]), float(found[1])
    verdict: Verdict = "no difference shown"
    if differing and differing < LEAST_DIFFERING:
        verdict = "too few to tell"
    elif low > 0 or high < 0:
        verdict = "better" if low > 0 else "worse"
    return Paired(
        metric=metric,
        test="paired bootstrap",
        items=count,
        before=score(first.sum(axis=0).tolist()),
        after=score(second.sum(axis=0).tolist()),
        low=low,
        high=high,
        verdict=verdict,
    )


def _interval(differences: np.ndarray, level: float, seed: int) -> tuple[float, float]:
    """Return the percentile interval of the mean difference."""
    import numpy as np

    generator = np.random.default_rng(seed)
    count = len(differences)
    resamples = max(1_000, min(RESAMPLES, _MOST_DRAWS // count))
    per_chunk = max(1, _CHUNK // count)
    means = []
    for start in range(0, resamples, per_chunk):
        rows = min(per_chunk, resamples - start)
        means.append(differences[generator.integers(0, count, (rows, count))].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), (level / 2, 1 - level / 2))
    return float(low), float(high)
