"""The results of a run by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tui_trainer.watch.snapshots import MetricTable, RunView

_TOLERANCE = 1e-9  # epochs; the last step of epoch 2 may be at 2.0000000001


@dataclass(frozen=True)
class EpochResult:
    """One pass over the training data."""

    epoch: int  # from 1
    share: float  # done of it, 0..1
    step: int  # last optimizer step of it so far
    loss: float | None  # mean training loss of its steps, nats
    accuracy: float | None  # mean training accuracy of its steps, 0..1
    learning_rate: float | None  # of its last step
    seconds: float | None  # of its steps, without evaluations and pauses
    samples_per_second: float | None  # training examples
    best: bool = False  # whether the best evaluation was in it
    evaluation: dict[str, float] = field(default_factory=dict)  # its last one, by metric


def epoch_results(view: RunView) -> tuple[EpochResult, ...]:
    """Return the results of each epoch, the first one first; none where epochs are not recorded.

    In a thinned table an entry of several rows belongs to the epoch of its last row.
    """
    train = view.train
    numbers = _numbers(train)
    if not len(numbers):
        return ()
    evaluations = _last_evaluations(view.evals)
    best = _best_epoch(view)
    last = int(numbers[-1])
    return tuple(
        _result(train, number, rows, number == last, evaluations.get(number, {}), number == best)
        for number, rows in _groups(numbers)
    )


def _numbers(table: MetricTable) -> NDArray[np.int64]:
    """Return the epoch of each entry, from 1; empty where the table has none or gaps."""
    epochs = table.column("epoch")
    if not len(epochs) or not np.isfinite(epochs).all():
        return np.empty(0, dtype=np.int64)
    return np.maximum(np.ceil(epochs - _TOLERANCE), 1).astype(np.int64)


def _groups(numbers: NDArray[np.int64]) -> Iterator[tuple[int, slice]]:
    """Yield each epoch and its entries, which are consecutive."""
    starts = np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1])))
    for start, end in zip(starts, [*starts[1:], len(numbers)], strict=True):
        yield int(numbers[start]), slice(int(start), int(end))


def _result(
    table: MetricTable,
    number: int,
    rows: slice,
    is_last: bool,
    evaluation: dict[str, float],
    best: bool,
) -> EpochResult:
    seconds = _sum(table, "step_time_ms", rows)
    seconds = None if seconds is None else seconds / 1000
    examples = _sum(table, "examples", rows)
    reached = float(table.column("epoch")[rows][-1])
    return EpochResult(
        epoch=number,
        share=min(1.0, max(0.0, reached - (number - 1))) if is_last else 1.0,
        step=int(table.column("step")[rows][-1]),
        loss=_mean(table, "loss", rows),
        accuracy=_mean(table, "accuracy", rows),
        learning_rate=_newest(table, "learning_rate", rows),
        seconds=seconds,
        samples_per_second=examples / seconds if seconds and examples is not None else None,
        best=best,
        evaluation=evaluation,
    )


def _finite(
    table: MetricTable, name: str, rows: slice
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the finite values of a column, and of how many rows each is the mean."""
    values = table.column(name)[rows]
    weights = np.ones(len(values)) if table.weights is None else table.weights[rows]
    finite = np.isfinite(values)
    return values[finite], np.asarray(weights, dtype=np.float64)[: len(values)][finite]


def _mean(table: MetricTable, name: str, rows: slice) -> float | None:
    values, weights = _finite(table, name, rows)
    return float(np.average(values, weights=weights)) if len(values) else None


def _sum(table: MetricTable, name: str, rows: slice) -> float | None:
    values, weights = _finite(table, name, rows)
    return float(values @ weights) if len(values) else None


def _newest(table: MetricTable, name: str, rows: slice) -> float | None:
    values, _ = _finite(table, name, rows)
    return float(values[-1]) if len(values) else None


def _last_evaluations(evals: MetricTable) -> dict[int, dict[str, float]]:
    """Return the metrics of the last evaluation in each epoch."""
    found = {}
    for number, rows in _groups(numbers) if len(numbers := _numbers(evals)) else ():
        values = {name: evals.column(name)[rows][-1] for name in evals.names()}
        found[number] = {name: float(value) for name, value in values.items() if np.isfinite(value)}
    return found


def _best_epoch(view: RunView) -> int | None:
    """Return the epoch of the best evaluation, by the run's own metric where it is known."""
    step: float | None = None
    if view.state is not None and view.state.best is not None:
        step = view.state.best.step
    elif (lowest := view.evals.best("val_loss")) is not None:
        step = lowest[1]
    numbers = _numbers(view.evals)
    if step is None or not len(numbers):
        return None
    at = np.flatnonzero(view.evals.column("step") == step)
    return int(numbers[at[0]]) if len(at) else None
