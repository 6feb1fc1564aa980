"""The summary of a run for the run list, from its tables."""

from __future__ import annotations

import math

import numpy as np

from tui_trainer.watch.snapshots import Column, MetricTable
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.source import SourceFacts, SourcePeek

_SPARK_POINTS = 24
_FEWEST_VALUES = 8
_RATE_ROWS = 50  # newest rows over which the rates are averaged


def peek_of(history: History, facts: SourceFacts, whole: bool = True) -> SourcePeek:
    """The summary of the tables. Without `whole` some rows are missing, and what needs all rows
    is left out."""
    train, evals = history.train.table(), history.evals.table()
    steps = [float(table.column("step")[-1]) for table in (train, evals) if len(table)]
    newest = train if len(train) and train.column("step")[-1] >= max(steps) else evals
    best, best_val = train.best("loss"), evals.best("val_loss")
    losses = finite(train, "loss") if whole else np.empty(0)
    tokens_per_second, seconds_per_step = _rates(train)
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
        tokens_per_second=tokens_per_second,
        seconds_per_step=seconds_per_step,
    )


def _rates(train: MetricTable) -> tuple[float | None, float | None]:
    """Tokens per second and seconds per step over the newest rows; None where not recorded."""
    tokens = train.column("tokens")[-_RATE_ROWS:]
    spent = train.column("step_time_ms")[-_RATE_ROWS:] / 1000
    rate = None
    if len(tokens) and len(tokens) == len(spent):
        both = np.isfinite(tokens) & np.isfinite(spent)
        seconds = float(spent[both].sum())
        rate = float(tokens[both].sum()) / seconds if seconds > 0 else None
    steps, times = train.column("step")[-_RATE_ROWS:], train.column("time")[-_RATE_ROWS:]
    pace = None
    if len(steps) > 1 and len(times) == len(steps) and steps[-1] > steps[0]:
        pace = float((times[-1] - times[0]) / (steps[-1] - steps[0]))
        pace = pace if np.isfinite(pace) and pace >= 0 else None
    return rate, pace


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
