"""The value of a chart at one x: exact, or of a bucket. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tui_trainer.text import formats
from tui_trainer.text.formats import number
from tui_trainer.tui.charts.model import Array
from tui_trainer.tui.run_charts.metrics import Metric, MetricSamples
from tui_trainer.tui.run_charts.x_axis import XAxis, x_of
from tui_trainer.watch.snapshots import RunView


@dataclass(frozen=True)
class ValueAt:
    """A value at a step; in a thinned table the mean of the steps `first` to `step`, with the
    lowest and the highest. All are None if the run has no value there."""

    value: float | None = None
    step: float | None = None
    first: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def span(self) -> str:
        """The steps averaged and the extremes; empty for a single row."""
        if self.first is None or self.step is None:
            return ""
        steps = f"mean of steps {formats.count(self.first)}–{formats.count(self.step)}"
        return f"{steps}{self._extremes()}"

    def text(self) -> str:
        """The value, with the extremes if it is a mean."""
        value = "not finite" if _is_gap(self) else number(self.value)
        return f"{value}{self._extremes()}"

    def _extremes(self) -> str:
        """The lowest and the highest, unless they are written the same."""
        low, high = number(self.low), number(self.high)
        if self.low is None or self.high is None or low == high:
            return ""
        return f", min {low}, max {high}"


def read(view: RunView, metric: Metric, axis: XAxis, x: float) -> ValueAt:
    """A run's value at `x`: the nearest entry; for evaluations the newest before it."""
    samples = metric.samples(view)
    positions = samples.at(x_of(view, axis, metric.evals))
    if not len(positions) or len(positions) != len(samples.values) or not math.isfinite(x):
        return ValueAt()
    index = _entry(positions, x, metric.evals)
    if index is None:
        return ValueAt()
    return _reading(view, metric, samples, index)


def _entry(positions: Array, x: float, at_or_before: bool) -> int | None:
    after = int(np.searchsorted(positions, x + abs(x) * 1e-12, side="right"))
    if at_or_before:
        return after - 1 if after else None
    if after == 0 or after == len(positions):
        end = 0 if after == 0 else len(positions) - 1
        # Beyond an end, an entry still counts within 1.5 times the mean distance.
        mean = abs(positions[-1] - positions[0]) / max(len(positions) - 1, 1)
        return end if abs(positions[end] - x) <= 1.5 * mean + abs(x) * 1e-12 else None
    return after - 1 if x - positions[after - 1] <= positions[after] - x else after


def _reading(view: RunView, metric: Metric, samples: MetricSamples, index: int) -> ValueAt:
    table = metric.table(view)
    entry = index if samples.entries is None else int(samples.entries[index])
    steps = table.column("step")
    value, step = float(samples.values[index]), float(steps[entry])
    alone = samples.counts is None or int(samples.counts[index]) == 1
    if alone or samples.low is None or samples.high is None:
        return ValueAt(value, step)
    first = float(steps[entry - 1]) + 1 if entry else 1.0
    low, high = float(samples.low[index]), float(samples.high[index])
    return ValueAt(value, step, min(first, step), low, high)


def _is_gap(reading: ValueAt) -> bool:
    return reading.value is not None and not math.isfinite(reading.value)
