"""How well a classifier does, class by class: `evaluation.json` of a run folder."""

from __future__ import annotations

import msgspec

SCHEMA = 1


class ClassScore(msgspec.Struct, frozen=True, kw_only=True):
    """One class: shares (0..1), 0 where they are not defined, and its validation examples."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation. Macro values are plain means over the classes that occur, as truth or as
    prediction. `confusion[i][j]` counts examples of class i taken for class j."""

    step: int
    time: float
    val_loss: float | None
    accuracy: float
    precision_macro: float
    recall_macro: float
    f1_macro: float
    classes: list[ClassScore]
    confusion: list[list[int]]


class EvaluationFile(msgspec.Struct, frozen=True, kw_only=True):
    """The newest evaluation and the best one (least validation loss), if that is known."""

    schema: int = SCHEMA
    labels: list[str]
    newest: Evaluation
    best: Evaluation | None = None
