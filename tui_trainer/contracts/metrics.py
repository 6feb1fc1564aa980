"""Measurements of a run.

Lines of `metrics.jsonl`, one per optimizer step and one per evaluation, and `evaluation.json`, the
scores of a classifier by class.
"""

from __future__ import annotations

import math

import msgspec

EVALUATION_SCHEMA = 1  # version of `evaluation.json`


class TrainRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="train"):
    """One optimizer step.

    `loss` is the mean cross-entropy in nats per labelled token, weighted by example weight;
    `gradient_norm` the global L2 norm before clipping; `step_time_ms` wall milliseconds;
    `tokens` counts the step's tokens without padding. A value that is not a finite number
    is `None` and its field is named in `nonfinite`.
    """

    step: int  # optimizer steps finished, this one included
    epoch: float  # passes over the training data so far, in parts of one
    loss: float | None  # nats per labelled token, before the step
    learning_rate: float | None  # of this step
    gradient_norm: float | None  # global L2 norm before clipping
    phase: str = "full"  # "full": every gradient was computed
    was_predicted: bool = False  # whether the gradient was predicted instead of computed
    # Relative error of the predicted gradient; None without one.
    prediction_error: float | None = None
    step_time_ms: float  # wall time, milliseconds
    tokens: int  # of the step, without padding
    examples: int  # of the step
    time: float  # seconds since the epoch
    # Fields whose value is not finite; left out for none.
    nonfinite: list[str] | msgspec.UnsetType = msgspec.UNSET


class EvalRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="eval"):
    """One evaluation: `val_loss` in nats per labelled token, `val_accuracy` the share of
    labelled tokens predicted exactly (0..1); of a classification nats per example and the share
    of examples, and then also the macro averages (0..1)."""

    step: int  # optimizer steps finished
    epoch: float  # passes over the training data so far
    val_loss: float | None  # nats per labelled token, or per example (classification)
    val_accuracy: float | None = None  # share (0..1) of tokens or examples predicted exactly
    val_f1_macro: float | msgspec.UnsetType = msgspec.UNSET  # mean over the classes (0..1)
    val_precision_macro: float | msgspec.UnsetType = msgspec.UNSET  # mean over the classes (0..1)
    val_recall_macro: float | msgspec.UnsetType = msgspec.UNSET  # mean over the classes (0..1)
    time: float  # seconds since the epoch
    # Fields whose value is not finite; left out for none.
    nonfinite: list[str] | msgspec.UnsetType = msgspec.UNSET


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

    schema: int = EVALUATION_SCHEMA  # version of the file's format
    labels: list[str]  # of the classes, in order
    newest: Evaluation  # the last evaluation
    best: Evaluation | None = None  # the one with the least validation loss


def finite_or_none(value: float) -> float | None:
    """`value`, or `None` where JSON has no word for it (NaN and the infinities)."""
    return value if math.isfinite(value) else None
