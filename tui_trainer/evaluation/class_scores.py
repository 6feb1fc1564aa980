"""Accuracy, precision, recall and F1 of a classifier, from its confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tui_trainer.contracts.metrics import ClassScore

Matrix = npt.NDArray[np.int64]


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
    """Return the counts by true and predicted class, shape (classes, classes)."""
    index = {label: at for at, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for one, other in zip(true, predicted, strict=True):
        matrix[index[one], index[other]] += 1
    return matrix


def class_scores(confusion: Matrix, labels: Sequence[str]) -> ClassScores:
    """Return the scores of a confusion matrix of shape (true classes, predicted classes)."""
    hits, true, guessed = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(guessed, 1)
    recall = hits / np.maximum(true, 1)
    f1 = 2 * hits / np.maximum(true + guessed, 1)
    occurs = (true + guessed) > 0
    return ClassScores(
        accuracy=float(hits.sum() / max(1, confusion.sum())),
        precision_macro=float(precision[occurs].mean()),
        recall_macro=float(recall[occurs].mean()),
        f1_macro=float(f1[occurs].mean()),
        classes=[
            ClassScore(
                label=label,
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                support=int(true[i]),
            )
            for i, label in enumerate(labels)
        ],
        confusion=confusion.tolist(),
    )
