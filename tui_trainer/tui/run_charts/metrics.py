"""The charts of a run: the standard metrics first, then all others recorded. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tui_trainer.tui.charts.model import Array
from tui_trainer.watch.snapshots import MetricTable, RunView, is_missing

Entries = NDArray[np.intp]
Side = Literal["train", "evals"]
_EMPTY = np.empty(0)
_LARGEST_EXPONENT = 700.0  # whose power is a finite number
_TITLES = {
    "step_time_ms": "step time ms",
    "tokens": "tokens per step",
    "examples": "examples per step",
    "prediction_error": "prediction error",
    "accuracy": "training accuracy",
}
_EVAL_TITLES = {"val_accuracy": "validation accuracy"}


@dataclass(frozen=True, eq=False)
class MetricSamples:
    """A metric's values, without the rows that lack it; `entries` are their indices in the table,
    None for all. In a thinned table `low` and `high` are the extremes of each entry and `counts`
    the number of rows in it."""

    values: Array
    low: Array | None = None
    high: Array | None = None
    entries: Entries | None = None
    counts: NDArray[np.int32] | None = None

    def at(self, column: Array) -> Array:
        """Another column of the same table at these entries."""
        return column if self.entries is None or not len(column) else column[self.entries]


@dataclass(frozen=True)
class Metric:
    """A quantity that has a chart."""

    id: str
    title: str
    column: str = ""  # empty if it is computed from several columns
    side: Side = "train"  # the table that holds the column
    smooths: bool = True  # whether it is shown smoothed
    robust: bool = True  # whether outliers do not set the limits of the chart
    is_exponential: bool = False  # whether the values are e to the power of the column's

    @property
    def export_name(self) -> str:
        """The name of its column in exported data."""
        return self.title if self.is_exponential else self.column or self.title

    @property
    def evals(self) -> bool:
        """Whether it is measured by evaluations."""
        return self.side == "evals"

    def table(self, view: RunView) -> MetricTable:
        """The table that holds it."""
        return view.evals if self.evals else view.train

    def recorded(self, view: RunView) -> bool:
        """Whether a run records it."""
        columns = self.table(view).columns
        wanted = (self.column,) if self.column else ("tokens", "step_time_ms")
        return all(name in columns for name in wanted)

    def samples(self, view: RunView) -> MetricSamples:
        """Its values; empty if the run does not record it."""
        table = self.table(view)
        if not self.column:
            return MetricSamples(_throughput(table), counts=table.weights)
        values = table.column(self.column)
        entries = _present(values)
        envelope = table.envelope(self.column) if len(values) else None
        kept = self._of(values if entries is None else values[entries])
        counts = table.weights
        if counts is not None and entries is not None:
            counts = counts[entries]
        if envelope is None or len(envelope[1]) != len(kept):
            return MetricSamples(kept, None, None, entries, counts)
        low, high = self._of(envelope[1]), self._of(envelope[2])
        return MetricSamples(kept, low, high, entries, counts)

    def count(self, view: RunView) -> int:
        """The number of rows with a finite value."""
        table = self.table(view)
        return table.count(self.column) if self.column else table.rows

    def last(self, view: RunView) -> float | None:
        """The newest finite value."""
        if self.column:
            found = self.table(view).last(self.column)
            return found if found is None else float(self._of(np.array(found)))
        values = _throughput(self.table(view))[-1000:]
        finite = np.flatnonzero(np.isfinite(values))
        return float(values[finite[-1]]) if len(finite) else None

    def _of(self, values: Array) -> Array:
        """The metric's values for those of its column."""
        if not self.is_exponential:
            return values
        return np.asarray(np.exp(np.minimum(values, _LARGEST_EXPONENT)), dtype=np.float64)


LOSS = Metric("loss", "loss", "loss")
LEARNING_RATE = Metric(
    "learning_rate", "learning rate", "learning_rate", smooths=False, robust=False
)
GRADIENT_NORM = Metric("gradient_norm", "gradient norm", "gradient_norm")
THROUGHPUT = Metric("throughput", "tokens/s")
VALIDATION = Metric(
    "validation", "validation loss", "val_loss", "evals", smooths=False, robust=False
)
# e to the power of the mean loss per token (nats).
PERPLEXITY = Metric("perplexity", "perplexity", "loss", is_exponential=True)
VAL_PERPLEXITY = Metric(
    "eval:perplexity", "validation perplexity", "val_loss", "evals", smooths=False, robust=False,
    is_exponential=True,
)  # fmt: skip
LEADING: tuple[Metric, ...] = (LOSS, LEARNING_RATE, GRADIENT_NORM, THROUGHPUT, VALIDATION)
_LED = {(metric.side, metric.column) for metric in LEADING}


def metrics_of(views: Sequence[RunView], pins: Sequence[str] = ()) -> tuple[Metric, ...]:
    """The charts of the first run, and of metrics that only the other runs record.

    The standard metrics come first (for our own runs also before they are recorded), then the
    others in the order found. `pins` (ids) follow the first one.
    """
    if not views:
        return LEADING
    found = {metric.id: metric for view in views for metric in _recorded(view)}
    ours = views[0].summary.kind == "run"
    leading = [metric for metric in LEADING if ours or metric.id in found]
    ordered = [*leading, *(metric for metric in found.values() if metric not in LEADING)]
    if len(ordered) < 2:  # the second pane shows what the run does not record
        ordered += [metric for metric in LEADING if metric not in ordered][: 2 - len(ordered)]
    first, rest = ordered[0], ordered[1:]
    pinned = [metric for id in pins for metric in rest if metric.id == id]
    return (first, *pinned, *(metric for metric in rest if metric not in pinned))


def _recorded(view: RunView) -> list[Metric]:
    """The metrics with at least one finite value."""
    found = [metric for metric in LEADING if metric.recorded(view)]
    trained = [name for name in view.train.names() if view.train.count(name)]
    found += [_other(name, "train") for name in trained if ("train", name) not in _LED]
    for name in view.evals.names():
        if ("evals", name) not in _LED and view.evals.count(name):
            found.append(_other(name, "evals", twice=name in trained))
    if view.config.get("task") == "causal-lm":
        found += [one for one in (PERPLEXITY, VAL_PERPLEXITY) if one.count(view)]
    return found


def _other(name: str, side: Side, twice: bool = False) -> Metric:
    if side == "train":
        return Metric(name, _TITLES.get(name, name), name)
    title = _EVAL_TITLES.get(name, name)
    title = f"{title} (evaluation)" if twice else title
    return Metric(f"eval:{name}", title, name, "evals", smooths=False, robust=False)


def _present(values: Array) -> Entries | None:
    """The entries that have the field, NaN or not; None for all."""
    if not len(values) or not np.isnan(np.sum(values)):
        return None
    lacking = is_missing(values)
    return np.flatnonzero(~lacking) if lacking.any() else None


def _throughput(table: MetricTable) -> Array:
    tokens, milliseconds = table.column("tokens"), table.column("step_time_ms")
    if not len(tokens) or not len(milliseconds):
        return _EMPTY
    with np.errstate(all="ignore"):
        return np.asarray(tokens / (milliseconds / 1000), dtype=np.float64)
