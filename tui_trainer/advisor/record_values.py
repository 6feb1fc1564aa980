"""The values of a record that the advisor judges, whatever tool wrote it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord

# Field names that tools use for each value; the first one that is present counts.
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
    """One row. A value that is absent or not finite is None."""

    step: int | None = None
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    val_loss: float | None = None
    step_time_ms: float | None = None
    data_time_ms: float | None = None
    time: float | None = None  # seconds since the epoch
    nonfinite: tuple[str, ...] = ()  # values that were present and not finite


def read_record(
    record: TrainRecord | EvalRecord | RecordValues | Mapping[str, Any],
) -> RecordValues:
    """The values of a record of this program or of a row of another tool. Values of another type
    count as absent."""
    if isinstance(record, RecordValues):
        return record
    if isinstance(record, TrainRecord):
        nonfinite = record.nonfinite
        return RecordValues(
            step=record.step,
            loss=_finite(record.loss),
            learning_rate=_finite(record.learning_rate),
            gradient_norm=_finite(record.gradient_norm),
            step_time_ms=_finite(record.step_time_ms),
            data_time_ms=_finite(getattr(record, "data_time_ms", None)),
            time=_finite(record.time),
            nonfinite=tuple(nonfinite) if nonfinite is not msgspec.UNSET else (),
        )
    if isinstance(record, EvalRecord):
        nonfinite = record.nonfinite
        return RecordValues(
            step=record.step,
            val_loss=_finite(record.val_loss),
            time=_finite(record.time),
            nonfinite=tuple(nonfinite) if nonfinite is not msgspec.UNSET else (),
        )
    return _mapping(record)


def _mapping(row: Mapping[str, Any]) -> RecordValues:
    found: dict[str, float | None] = {}
    nonfinite: list[str] = []
    for name, aliases in _NAMES.items():
        for alias in aliases:
            if alias in row:
                value = row[alias]
                found[name] = _finite(value)
                if isinstance(value, float) and not math.isfinite(value):
                    nonfinite.append(name)
                break
    named = row.get("nonfinite")
    if isinstance(named, list | tuple):
        nonfinite += [str(name) for name in named if str(name) not in nonfinite]
    elif "loss" in row and row["loss"] is None:
        nonfinite.append("loss")  # JSON writers put null for a value that is not finite
    step = found.pop("step", None)
    return RecordValues(
        step=None if step is None else int(step), nonfinite=tuple(nonfinite), **found
    )


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    # The square of a larger number overflows; no loss or norm is that large.
    return number if abs(number) < 1e150 else None
