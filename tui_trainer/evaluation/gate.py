"""Whether a model may replace another one: what it loses and wins on the same items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from tui_trainer.contracts.evaluation import (
    ChangedItem,
    EvaluatedItem,
    EvaluationReport,
    Paired,
    ScoreComparison,
)
from tui_trainer.evaluation import metrics, text_scores
from tui_trainer.evaluation.metrics import LOWER_IS_BETTER
from tui_trainer.evaluation.paired import LEVEL, compare_corpus, compare_means, compare_right
from tui_trainer.text import formats

THRESHOLD = 0.02  # by how much a mean may be lower


@dataclass(frozen=True)
class Change:
    """Indices of the items that only one of two models has right."""

    lost: list[int]  # right only before
    won: list[int]  # right only after
    kept: list[int]  # right in both


def changes(before: Sequence[bool], after: Sequence[bool]) -> Change:
    """Return which items the second model loses, wins and keeps."""
    pairs = list(enumerate(zip(before, after, strict=True)))
    return Change(
        [at for at, (one, other) in pairs if one and not other],
        [at for at, (one, other) in pairs if other and not one],
        [at for at, (one, other) in pairs if one and other],
    )


@dataclass(frozen=True)
class Limit:
    """A share of right answers that the second model must reach, or as much as the first had."""

    share: float | None  # (0..1) of the second model; None: nothing was measured
    least: float  # (0..1) that is asked for
    before: float | None  # (0..1) of the first model; None: it does not count
    sentence: str  # what is said where it is missed


def below(limits: Sequence[Limit]) -> list[str]:
    """Return the sentences of the limits that are missed."""
    return [
        limit.sentence
        for limit in limits
        if limit.share is not None
        and limit.share < (limit.least if limit.before is None else min(limit.least, limit.before))
    ]


class GateReport(msgspec.Struct, frozen=True, kw_only=True):
    """The decision on a model, and why."""

    passed: bool  # whether nothing blocks it
    blocked: list[str]  # sentences: what blocks it
    notices: list[str] = []  # sentences about what cannot be told
    threshold: float | None = THRESHOLD  # by how much a mean may be lower; None: any
    lost: list[ChangedItem] = []  # items that only the first model has right
    won: list[ChangedItem] = []  # items that only the second model has right
    aggregates: list[Paired] = []


def decide(
    golden: tuple[Sequence[EvaluatedItem], Sequence[EvaluatedItem]],
    data: tuple[Sequence[EvaluatedItem], Sequence[EvaluatedItem]],
    threshold: float | None = THRESHOLD,
    limits: Sequence[Limit] = (),
) -> GateReport:
    """Decide on the second model of each pair of items, measured on the same rows.

    A golden item that only the first model has right blocks, and so does a missed limit. A mean
    over the data's items blocks where it is lower by at least `threshold` and the test shows that
    it is not chance; the tests share the error level, so that equal models are blocked in at most
    `LEVEL` of all cases. Without a threshold no mean blocks.
    """
    lost, won = _changed(*golden, golden=True)
    blocked = [f"{formats.plural(len(lost), 'golden answer')} lost"] if lost else []
    blocked += below(limits)
    aggregates = compare(*data)
    notices = []
    allowed = math.inf if threshold is None else threshold
    for found in aggregates:
        if found.change > -allowed:
            continue
        fall = (
            f"{found.metric}: lower by {formats.score(-found.change)} on "
            f"{formats.plural(found.items, 'item')}"
        )
        if found.verdict == "worse":
            blocked.append(
                f"{fall}, which is not chance ({found.test}); {formats.score(allowed)} is allowed"
            )
        else:
            notices.append(f"{fall}, {found.verdict}")
    others = _changed(*data, golden=False)
    return GateReport(
        passed=not blocked,
        blocked=blocked,
        notices=notices,
        threshold=threshold,
        lost=[*lost, *others[0]],
        won=[*won, *others[1]],
        aggregates=aggregates,
    )


def compare(before: Sequence[EvaluatedItem], after: Sequence[EvaluatedItem]) -> list[Paired]:
    """Compare two models on the same items: right answers by the exact McNemar test, and the token
    F1 of answers by a paired bootstrap."""
    pairs = [
        (one, other)
        for one, other in zip(before, after, strict=True)
        if one.right is not None and other.right is not None
    ]
    if not pairs:
        return []
    written = all("token_f1" in item.scores for pair in pairs for item in pair)
    level = LEVEL / (2 if written else 1)
    found = [
        compare_right(
            "right answers",
            [bool(one.right) for one, _ in pairs],
            [bool(other.right) for _, other in pairs],
            level,
        )
    ]
    if written:
        first, second = [one for one, _ in pairs], [other for _, other in pairs]
        found.append(compare_scores("token_f1", first, second, level))
    return found


def compare_metrics(
    before: Sequence[EvaluatedItem], after: Sequence[EvaluatedItem], names: Sequence[str]
) -> list[Paired]:
    """Compare two models on the same items by each of the metrics, without a correction for their
    number."""
    pairs = list(zip(before, after, strict=True))
    found = []
    for name in names:
        if name in ("accuracy", "exact_match"):
            known = [(a, b) for a, b in pairs if a.right is not None and b.right is not None]
            if known and name == "exact_match":
                first = [bool(a.scores.get(name)) for a, _ in known]
                second = [bool(b.scores.get(name)) for _, b in known]
                found.append(compare_right(name, first, second))
            elif known:
                rights = ([bool(a.right) for a, _ in known], [bool(b.right) for _, b in known])
                found.append(compare_right(name, *rights))
            continue
        if name in metrics.CORPUS:
            found += _compare_corpus(name, pairs)
            continue
        measured = [(a, b) for a, b in pairs if name in a.scores and name in b.scores]
        if measured:
            found.append(compare_scores(name, [a for a, _ in measured], [b for _, b in measured]))
    return found


def _compare_corpus(
    metric: str, pairs: Sequence[tuple[EvaluatedItem, EvaluatedItem]]
) -> list[Paired]:
    known = [
        (one.reference, one.answer, other.answer)
        for one, other in pairs
        if one.reference is not None and one.answer is not None and other.answer is not None
    ]
    if not known:
        return []
    references, first, second = ([each[at] for each in known] for at in range(3))
    before, score = text_scores.corpus_statistics(metric, references, first)
    after, _ = text_scores.corpus_statistics(metric, references, second)
    return [compare_corpus(metric, before, after, score)]


def side_by_side(before: EvaluationReport, after: EvaluationReport) -> ScoreComparison:
    """Return what the second model is beside the first: their metrics, tests, and the items that
    only one of them has right."""
    lost, won = _changed(before.items, after.items, golden=False)
    return ScoreComparison(
        target=before.target,
        metrics=before.metrics,
        tests=compare_metrics(before.items, after.items, list(after.metrics)),
        lost=lost,
        won=won,
    )


def compare_scores(
    metric: str,
    before: Sequence[EvaluatedItem],
    after: Sequence[EvaluatedItem],
    level: float = LEVEL,
) -> Paired:
    """Compare the means of a score that all items of two models have, by a paired bootstrap."""
    return compare_means(
        metric,
        [item.scores[metric] for item in before],
        [item.scores[metric] for item in after],
        higher=metric not in LOWER_IS_BETTER,
        level=level,
    )


def _changed(
    before: Sequence[EvaluatedItem], after: Sequence[EvaluatedItem], *, golden: bool
) -> tuple[list[ChangedItem], list[ChangedItem]]:
    found = changes([bool(item.right) for item in before], [bool(item.right) for item in after])

    def of(at: int) -> ChangedItem:
        return ChangedItem(
            where=after[at].where,
            question=after[at].question,
            reference=after[at].reference,
            before=before[at].answer,
            after=after[at].answer,
            golden=golden,
        )

    return [of(at) for at in found.lost], [of(at) for at in found.won]
