"""Lines of `metrics.jsonl`: one per optimizer step and one per evaluation."""

from __future__ import annotations

import math

import msgspec


class TrainRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="train"):
    """One optimizer step.

    `loss` is the mean cross-entropy in nats per labelled token, weighted by example weight;
    `gradient_norm` the global L2 norm before clipping; `step_time_ms` wall milliseconds;
    `tokens` counts the step's tokens without padding. A value that is not a finite number
    is `None` and its field is named in `nonfinite`.
    """

    step: int
    epoch: float
    loss: float | None
    learning_rate: float | None
    gradient_norm: float | None
    phase: str = "full"
    was_predicted: bool = False
    prediction_error: float | None = None
    step_time_ms: float
    tokens: int
    examples: int
    time: float
    nonfinite: list[str] | msgspec.UnsetType = msgspec.UNSET


class EvalRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="eval"):
    """One evaluation: `val_loss` in nats per labelled token, `val_accuracy` the share of
    labelled tokens predicted exactly (0..1); of a classification nats per example and the share
    of examples, and then also the macro averages (0..1)."""

    step: int
    epoch: float
    val_loss: float | None
    val_accuracy: float | None = None
    val_f1_macro: float | msgspec.UnsetType = msgspec.UNSET
    val_precision_macro: float | msgspec.UnsetType = msgspec.UNSET
    val_recall_macro: float | msgspec.UnsetType = msgspec.UNSET
    time: float
    nonfinite: list[str] | msgspec.UnsetType = msgspec.UNSET


MetricRecord = TrainRecord | EvalRecord


def finite_or_none(value: float) -> float | None:
    """`value`, or `None` where JSON has no word for it (NaN and the infinities)."""
    return value if math.isfinite(value) else None
