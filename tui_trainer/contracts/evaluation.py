"""How well a classifier does, class by class: `evaluation.json` of a run folder."""

from __future__ import annotations

import msgspec

SCHEMA = 1


class ClassScore(msgspec.Struct, frozen=True, kw_only=True):
    """One class: shares (0..1), 0 where they are not defined, and its validation examples."""

    label: str  # of the class
    precision: float  # 0..1
    recall: float  # 0..1
    f1: float  # 0..1
    support: int  # validation examples of the class


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation. Macro values are plain means over the classes that occur, as truth or as
    prediction. `confusion[i][j]` counts examples of class i taken for class j."""

    step: int  # optimizer steps finished
    time: float  # seconds since the epoch
    val_loss: float | None  # nats per example
    accuracy: float  # 0..1
    precision_macro: float  # 0..1
    recall_macro: float  # 0..1
    f1_macro: float  # 0..1
    classes: list[ClassScore]  # in the order of the labels
    confusion: list[list[int]]  # examples, by true class and prediction


class EvaluationFile(msgspec.Struct, frozen=True, kw_only=True):
    """The newest evaluation and the best one (least validation loss), if that is known."""

    schema: int = SCHEMA  # version of the file's format
    labels: list[str]  # of the classes, in order
    newest: Evaluation  # the last evaluation
    best: Evaluation | None = None  # the one with the least validation loss
