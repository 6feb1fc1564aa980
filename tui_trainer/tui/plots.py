"""From a run's columns to what a chart is asked to show. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tui_trainer.contracts.run import Event
from tui_trainer.tui import states
from tui_trainer.tui.charts import bins
from tui_trainer.tui.charts.model import Array, ChartSpec, Format, Line, Mark, mark
from tui_trainer.tui.charts.text import number
from tui_trainer.tui.text import count_text, rate_text
from tui_trainer.tui.viewport import ALL, Range, Viewport
from tui_trainer.watch.view import RunView, Table

XAxis = Literal["step", "epoch", "tokens", "time"]
X_AXES: tuple[XAxis, ...] = ("step", "epoch", "tokens", "time")
SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
_EMPTY = np.empty(0)


@dataclass(frozen=True)
class ChartOptions:
    """What the keys change: `smoothing` is the weight of the past (0..1)."""

    x: XAxis = "step"
    smoothing: float = 0.9
    log_y: bool = False
    viewport: Viewport = ALL


@dataclass(frozen=True)
class Metric:
    """A quantity that has a chart: its values by row, its name and what it lacks elsewhere."""

    id: str
    title: str
    values: Callable[[RunView], Array]
    smooths: bool = True
    robust: bool = True
    evals: bool = False


def _column(name: str) -> Callable[[RunView], Array]:
    return lambda view: view.train.column(name)


def _throughput(view: RunView) -> Array:
    tokens, milliseconds = view.train.column("tokens"), view.train.column("step_time_ms")
    if not len(tokens) or not len(milliseconds):
        return _EMPTY
    with np.errstate(all="ignore"):
        return np.asarray(tokens / (milliseconds / 1000), dtype=np.float64)


LOSS = Metric("loss", "loss", _column("loss"))
LEARNING_RATE = Metric(
    "learning_rate", "learning rate", _column("learning_rate"), smooths=False, robust=False
)
GRADIENT_NORM = Metric("gradient_norm", "gradient norm", _column("gradient_norm"))
THROUGHPUT = Metric("throughput", "tokens/s", _throughput)
VALIDATION = Metric(
    "validation", "validation loss", lambda view: view.evals.column("val_loss"),
    smooths=False, robust=False, evals=True,
)  # fmt: skip
LOWER: tuple[Metric, ...] = (LEARNING_RATE, GRADIENT_NORM, THROUGHPUT, VALIDATION)


@dataclass(frozen=True, eq=False)
class Plot:
    """One metric of one run with the options it is shown with."""

    view: RunView
    metric: Metric
    options: ChartOptions

    @property
    def key(self) -> tuple[object, ...]:
        """Equal keys give equal charts, so nothing need be drawn again."""
        view = self.view
        return (
            view.summary.path,
            self.metric.id,
            self.options,
            view.summary.status in states.DIMMED,
            _trace(view.train),
            _trace(view.evals),
            len(view.events),
        )

    def spec(self) -> ChartSpec:
        """The chart."""
        view, metric, options = self.view, self.metric, self.options
        values = metric.values(view)
        x = _x_of(view, options.x, metric.evals)
        whole = extent(view, options.x)
        title, detail = _titles(view, metric, values)
        return ChartSpec(
            title=title,
            detail=detail,
            lines=_lines(view, metric, options, x, values),
            marks=_marks(view, options.x),
            x_label=options.x,
            x_format=_format(options.x),
            log_y=options.log_y and metric is not LEARNING_RATE,
            robust=metric.robust,
            x_range=None if whole is None else options.viewport.shown(whole) or whole,
            dimmed=view.summary.status in states.DIMMED,
            empty=_empty(view, metric),
        )


def extent(view: RunView, axis: XAxis) -> Range | None:
    """The first and last x of a run, None where it has no rows or the axis has no values."""
    ends = [
        (float(x[0]), float(x[-1]))
        for x in (_x_of(view, axis, False), _x_of(view, axis, True))
        if len(x) and np.isfinite(x[0]) and np.isfinite(x[-1])
    ]
    if not ends:
        return None
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    return (low, high) if high > low else None


def _x_of(view: RunView, axis: XAxis, evals: bool) -> Array:
    """x of every row. Evaluations take theirs from the step they were made at."""
    steps = view.train.column("step")
    table = view.evals if evals else view.train
    if axis == "step":
        return table.column("step")
    if axis == "time":
        times = table.column("time")
        begin = view.train.column("time")[:1]
        first = float(begin[0]) if len(begin) else float(times[:1].sum())
        return np.asarray(times - first, dtype=np.float64)
    of_train = _running_tokens(view) if axis == "tokens" else view.train.column("epoch")
    if not evals or not len(of_train):
        return of_train if not evals else _EMPTY
    return np.asarray(np.interp(view.evals.column("step"), steps, of_train), dtype=np.float64)


def _running_tokens(view: RunView) -> Array:
    return np.asarray(np.nancumsum(view.train.column("tokens")), dtype=np.float64)


def _lines(
    view: RunView, metric: Metric, options: ChartOptions, x: Array, values: Array
) -> tuple[Line, ...]:
    if len(x) != len(values) or not len(x):
        return ()
    if metric.evals:
        return (Line(x, values, "smooth"), Line(x, values, "validation"))
    if not metric.smooths or options.smoothing == 0:
        lines: tuple[Line, ...] = (Line(x, values, "smooth"),)
    else:
        lines = (
            Line(x, values, "raw", "raw"),
            Line(x, bins.smooth(values, options.smoothing), "smooth", f"{options.smoothing:g}"),
        )
    if metric is LOSS and len(view.evals):
        at = _x_of(view, options.x, True)
        losses = view.evals.column("val_loss")
        if len(at) == len(losses):
            lines += (Line(at, losses, "validation", "val"),)
    return lines


def _titles(view: RunView, metric: Metric, values: Array) -> tuple[str, str]:
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return metric.title, ""
    newest = float(values[known[-1]])
    words = rate_text(newest) if metric is LEARNING_RATE else number(newest)
    title = f"{metric.title} {words}"
    if metric is VALIDATION:
        accuracy = view.evals.last("val_accuracy")
        share = "" if accuracy is None else f"  accuracy {100 * accuracy:.1f} %"
        return title, _best(values, view.evals) + share
    if metric is not LOSS:
        return title, ""
    validation = view.evals.column("val_loss")
    if not np.isfinite(validation).any():
        return title, _best(values, view.train)
    last = number(view.evals.last("val_loss"))
    return title, f"{_best(values, view.train)}   val {last}  {_best(validation, view.evals)}"


def _best(values: Array, table: Table) -> str:
    steps = table.column("step")
    if len(steps) != len(values) or not np.isfinite(values).any():
        return ""
    place = int(np.nanargmin(values))
    return f"best {number(float(values[place]))} @ {count_text(float(steps[place]))}"


def _marks(view: RunView, axis: XAxis) -> tuple[Mark, ...]:
    """Events worth a mark; they lie at a step, so other axes take the step's own x."""
    kept = [event for event in view.events if _kind(event) is not None]
    if not kept:
        return ()
    at = np.array([event.step for event in kept], dtype=np.float64)
    steps, x = view.train.column("step"), _x_of(view, axis, False)
    if axis != "step":
        if not len(steps) or len(steps) != len(x):
            return ()
        at = np.interp(at, steps, x)
    marks = []
    for event, place in zip(kept, at.tolist(), strict=True):
        kind = _kind(event)
        if kind is not None:
            marks.append(mark(kind, place))
    return tuple(marks)


def _kind(event: Event) -> Literal["checkpoint", "evaluation", "learning_rate", "resumed"] | None:
    if event.kind == "checkpoint":
        return "checkpoint"
    if event.kind == "evaluation":
        return "evaluation"
    if event.kind == "learning_rate":
        return "learning_rate"
    return "resumed" if event.kind == "resumed" else None


def _format(axis: XAxis) -> Format:
    return "duration" if axis == "time" else "number"


def _empty(view: RunView, metric: Metric) -> str:
    if metric is VALIDATION:
        return "no evaluation yet"
    if len(view.train) and not len(metric.values(view)):
        return f"this run records no {metric.title}"
    return "no step yet"


def _trace(table: Table) -> tuple[object, ...]:
    """What tells one state of a growing table from another."""
    ends = tuple(
        (name, float(column[0]), float(column[-1]))
        for name, column in table.columns.items()
        if len(column) and name in ("step", "time", "loss", "val_loss")
    )
    return len(table), repr(ends)
