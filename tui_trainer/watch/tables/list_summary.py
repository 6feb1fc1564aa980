"""The summary of a run for the run list, from its tables."""

from __future__ import annotations

import math

import numpy as np

from tui_trainer.watch.snapshots import Column, MetricTable
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.source import SourceFacts, SourcePeek

_SPARK_POINTS = 24
_FEWEST_VALUES = 8


def peek_of(history: History, facts: SourceFacts, whole: bool = True) -> SourcePeek:
    """The summary of the tables. Without `whole` some rows are missing, and what needs all rows
    is left out."""
    train, evals = history.train.table(), history.evals.table()
    steps = [float(table.column("step")[-1]) for table in (train, evals) if len(table)]
    newest = train if len(train) and train.column("step")[-1] >= max(steps) else evals
    best, best_val = train.best("loss"), evals.best("val_loss")
    losses = finite(train, "loss") if whole else np.empty(0)
    return SourcePeek(
        step=max(steps) if steps else None,
        loss=train.last("loss"),
        best_val_loss=best_val[0] if best_val is not None and whole else None,
        best_loss=best[0] if best is not None and whole else None,
        learning_rate=train.last("learning_rate"),
        epoch=newest.last("epoch"),
        spark=spark(losses),
        trend=trend(losses),
        total_steps=facts.total_steps,
        created_at=facts.created_at,
        name=facts.name,
        status=facts.status,
        message=facts.message,
    )


def finite(table: MetricTable, name: str) -> Column:
    """The finite values of a column."""
    values = table.column(name)
    return values[np.isfinite(values)]


def spark(values: Column) -> tuple[float, ...]:
    """At most 24 means of equally long parts, oldest first."""
    if not len(values):
        return ()
    parts = np.array_split(values, min(_SPARK_POINTS, len(values)))
    with np.errstate(over="ignore"):
        return tuple(float(part.mean()) for part in parts)


def trend(values: Column) -> float | None:
    """The relative change within the last quarter, from the mean of its first half to that of its
    second. None for fewer than eight values or where the first mean is 0 or not finite."""
    last = values[-(len(values) // 4) :]
    if len(last) < _FEWEST_VALUES // 4 or len(values) < _FEWEST_VALUES:
        return None
    middle = len(last) // 2
    with np.errstate(over="ignore"):
        before, after = float(last[:middle].mean()), float(last[middle:].mean())
    if not before or not math.isfinite(before):
        return None
    return (after - before) / abs(before)
