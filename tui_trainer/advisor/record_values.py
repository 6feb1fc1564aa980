"""A record of any shape as the few numbers that are judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from tui_trainer.contracts.metrics import EvalRecord, TrainRecord

# Names that tools give to the same thing; the first present one wins.
_NAMES: dict[str, tuple[str, ...]] = {
    "step": ("step", "global_step", "_step", "train/global_step", "iteration", "iter"),
    "loss": ("loss", "train_loss", "train/loss", "training_loss", "loss/train"),
    "learning_rate": ("learning_rate", "lr", "train/learning_rate", "train/lr"),
    "gradient_norm": (
        "gradient_norm", "grad_norm", "train/grad_norm", "train/gradient_norm", "gnorm",
    ),
    "val_loss": (
        "val_loss", "eval_loss", "eval/loss", "val/loss", "valid_loss", "validation_loss",
        "validation/loss", "loss/val",
    ),
    "step_time_ms": ("step_time_ms",),
    "data_time_ms": ("data_time_ms", "data_wait_ms"),
    "time": ("time", "timestamp", "_timestamp", "wall_time"),
}  # fmt: skip


class RecordValues(msgspec.Struct, frozen=True, kw_only=True):
    """One row. A number that is absent or not finite is None; `nonfinite` names those that
    were there and were not finite (loss, gradient_norm, val_loss)."""

    step: int | None = None
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    val_loss: float | None = None
    step_time_ms: float | None = None
    data_time_ms: float | None = None
    time: float | None = None
    nonfinite: tuple[str, ...] = ()


def read(record: TrainRecord | EvalRecord | RecordValues | Mapping[str, Any]) -> RecordValues:
    """The reading of a record of ours or a row of anyone's. Never raises for odd values."""
    if isinstance(record, RecordValues):
        return record
    if isinstance(record, TrainRecord):
        odd = record.nonfinite
        return RecordValues(
            step=record.step,
            loss=_finite(record.loss),
            learning_rate=_finite(record.learning_rate),
            gradient_norm=_finite(record.gradient_norm),
            step_time_ms=_finite(record.step_time_ms),
            data_time_ms=_finite(getattr(record, "data_time_ms", None)),
            time=_finite(record.time),
            nonfinite=tuple(odd) if odd is not msgspec.UNSET else (),
        )
    if isinstance(record, EvalRecord):
        odd = record.nonfinite
        return RecordValues(
            step=record.step,
            val_loss=_finite(record.val_loss),
            time=_finite(record.time),
            nonfinite=tuple(odd) if odd is not msgspec.UNSET else (),
        )
    return _mapping(record)


def _mapping(row: Mapping[str, Any]) -> RecordValues:
    found: dict[str, float | None] = {}
    odd: list[str] = []
    for name, aliases in _NAMES.items():
        for alias in aliases:
            if alias in row:
                value = row[alias]
                found[name] = _finite(value)
                if isinstance(value, float) and not math.isfinite(value):
                    odd.append(name)
                break
    named = row.get("nonfinite")
    if isinstance(named, list | tuple):
        odd += [str(name) for name in named if str(name) not in odd]
    elif "loss" in row and row["loss"] is None:
        odd.append("loss")  # a loss that was written as null was no number
    step = found.pop("step", None)
    return RecordValues(step=None if step is None else int(step), nonfinite=tuple(odd), **found)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    # A number whose square overflows would spoil sums; no loss or norm is that large.
    return number if abs(number) < 1e150 else None
