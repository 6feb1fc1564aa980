"""Measurements of a run.

Lines of `metrics.jsonl`, one per optimizer step and one per evaluation, `evaluation.json`, the
scores of a classifier by class, and `gradients.json`.
"""

from __future__ import annotations

import math

import msgspec

EVALUATION_SCHEMA = 1  # version of `evaluation.json`


class TrainRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="train"):
    """One optimizer step. A value that is not finite is None and its field is in `nonfinite`."""

    step: int  # optimizer steps finished, this one included
    epoch: float  # passes over the training data so far, with a fraction
    # Mean cross-entropy before the step, nats per labelled token, weighted by example weight.
    loss: float | None
    # Share (0..1) of the labelled tokens, or of the examples of a classification, that were
    # predicted exactly before the step, weighted as the loss; left out where it is not measured.
    accuracy: float | msgspec.UnsetType | None = msgspec.UNSET
    learning_rate: float | None  # of this step
    gradient_norm: float | None  # global L2 norm before clipping
    phase: str = "full"  # "full": all gradients were computed
    was_predicted: bool = False  # whether the gradient was predicted instead of computed
    prediction_error: float | None = None  # relative, of a predicted gradient; None without one
    step_time_ms: float  # wall time, milliseconds
    tokens: int  # of the step, without padding
    examples: int  # of the step
    time: float  # seconds since the epoch
    # Fields whose value is not finite; left out if there are none.
    nonfinite: list[str] | msgspec.UnsetType = msgspec.UNSET


class EvalRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="eval"):
    """One evaluation. The macro averages are only in the records of a classification."""

    step: int  # optimizer steps finished
    epoch: float  # passes over the training data so far
    val_loss: float | None  # nats per labelled token, or per example (classification)
    val_accuracy: float | None = None  # share (0..1) of tokens or examples predicted exactly
    val_f1_macro: float | msgspec.UnsetType = msgspec.UNSET  # mean over the classes (0..1)
    val_precision_macro: float | msgspec.UnsetType = msgspec.UNSET  # mean over the classes (0..1)
    val_recall_macro: float | msgspec.UnsetType = msgspec.UNSET  # mean over the classes (0..1)
    time: float  # seconds since the epoch
    # Fields whose value is not finite; left out if there are none.
    nonfinite: list[str] | msgspec.UnsetType = msgspec.UNSET


class GradientCheck(msgspec.Struct, frozen=True, kw_only=True):
    """`gradients.json`: the gradients of a step before clipping, as last measured."""

    step: int  # optimizer steps finished, this one included
    time: float  # seconds since the epoch
    largest: float | None  # largest finite magnitude of an element; None if there is none
    nan: int  # elements that are not a number
    infinite: int  # elements that are infinite
    with_gradient: int  # trained parameters (elements) that have a gradient
    parameters: int  # trained parameters (elements)
    last_not_finite: int | None = None  # newest step with NaN or infinity; None: none so far


class ClassScore(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of one class; a score that is not defined is 0."""

    label: str  # of the class
    precision: float  # 0..1
    recall: float  # 0..1
    f1: float  # harmonic mean of precision and recall (0..1)
    support: int  # validation examples of the class


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation of a classifier.

    Macro values are unweighted means over the classes that occur as a label or as a prediction.
    """

    step: int  # optimizer steps finished
    time: float  # seconds since the epoch
    val_loss: float | None  # nats per example
    accuracy: float  # 0..1
    precision_macro: float  # 0..1
    recall_macro: float  # 0..1
    f1_macro: float  # 0..1
    classes: list[ClassScore]  # in the order of the labels
    confusion: list[list[int]]  # [i][j]: examples of class i that were predicted as class j


class EvaluationFile(msgspec.Struct, frozen=True, kw_only=True):
    """`evaluation.json`: the newest evaluation and the best one."""

    schema: int = EVALUATION_SCHEMA  # version of the file's format
    labels: list[str]  # of the classes, in order
    newest: Evaluation  # the last evaluation
    best: Evaluation | None = None  # by the run's metric (`contracts.best_metric`); None if unknown


def finite_or_none(value: float) -> float | None:
    """`value`, or None for NaN and the infinities, which JSON cannot represent."""
    return value if math.isfinite(value) else None
