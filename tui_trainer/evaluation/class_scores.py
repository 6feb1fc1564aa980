"""Accuracy, precision, recall and F1 of a classifier, from its confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import msgspec

from tui_trainer.contracts.runs.metrics import ClassScore

Matrix = Sequence[Sequence[int]]  # [i][j]: examples of class i that were predicted as class j


class ClassScores(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of a classifier. Macro values are unweighted means over the classes that occur as a
    label or as a prediction."""

    accuracy: float  # 0..1
    precision_macro: float  # 0..1
    recall_macro: float  # 0..1
    f1_macro: float  # 0..1
    classes: list[ClassScore]  # in the order of the labels
    confusion: list[list[int]]  # [i][j]: examples of class i that were predicted as class j


def confusion_matrix(
    true: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> Matrix:
    """Return the counts by true and predicted class."""
    index = {label: at for at, label in enumerate(labels)}
    matrix = [[0] * len(labels) for _ in labels]
    for one, other in zip(true, predicted, strict=True):
        matrix[index[one]][index[other]] += 1
    return matrix


def class_scores(confusion: Matrix, labels: Sequence[str]) -> ClassScores:
    """Return the scores of a confusion matrix."""
    hits = [counts[at] for at, counts in enumerate(confusion)]
    true = [sum(counts) for counts in confusion]
    guessed = [sum(column) for column in zip(*confusion, strict=True)]
    classes = [
        ClassScore(
            label=label,
            precision=hits[at] / max(guessed[at], 1),
            recall=hits[at] / max(true[at], 1),
            f1=2 * hits[at] / max(true[at] + guessed[at], 1),
            support=true[at],
        )
        for at, label in enumerate(labels)
    ]
    occurring = [found for at, found in enumerate(classes) if true[at] + guessed[at]]
    return ClassScores(
        accuracy=sum(hits) / max(1, sum(true)),
        precision_macro=fmean(found.precision for found in occurring),
        recall_macro=fmean(found.recall for found in occurring),
        f1_macro=fmean(found.f1 for found in occurring),
        classes=classes,
        confusion=[list(counts) for counts in confusion],
    )
