"""From the columns of one or several runs to the specification of a chart. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.runs.run import ACTIVE_STATES, Event
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, number
from tui_trainer.tui.charts.model import (
    GLYPHS,
    Array,
    ChartLine,
    ChartMark,
    ChartSpec,
    HighlightWindow,
    MarkKind,
    mark,
)
from tui_trainer.tui.charts.smoothing import SmoothingCache, auto_weight, weight_text
from tui_trainer.tui.common import run_status
from tui_trainer.tui.run_charts.metrics import (
    LEARNING_RATE,
    LOSS,
    VALIDATION,
    Metric,
    MetricSamples,
)
from tui_trainer.tui.run_charts.value_at import read
from tui_trainer.tui.run_charts.viewport import ALL, Range, Viewport
from tui_trainer.tui.run_charts.x_axis import FORMATS, XAxis, between, extent, x_of
from tui_trainer.watch.snapshots import MetricTable, RunView

Smoothing = float | Literal["auto"]
SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
_GROWING = ACTIVE_STATES | {"unknown"}  # "unknown": another tool's run, whose file may still grow
_WINDOWS = 4  # highlighted, of the newest open advice
_STEADY = 32  # the end of a live axis moves by this part of its length at most
_NO_SLOTS: Mapping[Path, int] = MappingProxyType({})


@dataclass(frozen=True)
class ChartOptions:
    """The options set by keys."""

    x: XAxis = "step"
    smoothing: Smoothing = "auto"  # weight of the past, 0..1, or by the number of visible points
    log_y: bool = False
    log_x: bool = False
    raw: bool = True  # whether the values are shown behind the smoothed line
    viewport: Viewport = ALL  # in common logarithms if `log_x` is set


@dataclass(frozen=True, eq=False)
class Plot:
    """One metric of a run, with its options."""

    view: RunView  # the main run
    metric: Metric
    options: ChartOptions
    others: tuple[RunView, ...] = ()  # runs overlaid on it
    # The numbers of the runs' colours and letters.
    slots: Mapping[Path, int] = field(default_factory=lambda: _NO_SLOTS)
    cursor: float | None = None  # a step of the main run
    averages: SmoothingCache = field(default_factory=SmoothingCache)

    @property
    def views(self) -> tuple[RunView, ...]:
        """Every run on the chart, the main one first."""
        return (self.view, *self.others)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal keys mean equal charts, which need not be drawn again."""
        return (
            self.metric,
            self.options,
            self.cursor,
            *(
                (
                    view.summary.path,
                    self.slots.get(view.summary.path),
                    view.summary.status in run_status.DIMMED,
                    _trace(view.train),
                    _trace(view.evals),
                    len(view.events),
                    view.advice,
                    view.resumed_at,
                )
                for view in self.views
            ),
        )

    def spec(self) -> ChartSpec:
        """The chart."""
        view, metric, options = self.view, self.metric, self.options
        log_y = options.log_y and metric is not LEARNING_RATE
        samples = metric.samples(view)
        title, detail = self._titles(samples, log_y)
        at = None if self.cursor is None else x_of_step(view, options.x, self.cursor)
        return ChartSpec(
            title=title,
            detail=detail,
            lines=self._lines(samples),
            marks=_marks(view, options.x),
            x_label=options.x,
            x_format=FORMATS[options.x],
            log_y=log_y,
            log_x=options.log_x,
            robust=metric.robust,
            x_range=self._range(),
            cursor_x=at,
            windows=_windows(view, metric, options.x),
            dimmed=view.summary.status in run_status.DIMMED,
            empty=_empty(view, metric),
        )

    def heading(self) -> tuple[str, str]:
        """Title and detail alone."""
        log_y = self.options.log_y and self.metric is not LEARNING_RATE
        return self._titles(self.metric.samples(self.view), log_y)

    def weight(self, view: RunView | None = None) -> float:
        """The smoothing weight (0..1) for a run (None: the main one); 0 without smoothing."""
        chosen = self.options.smoothing
        if not self.metric.smooths:
            return 0.0
        if chosen != "auto":
            return chosen
        return auto_weight(self._points_in_view(view or self.view))

    def _points_in_view(self, view: RunView) -> float:
        """The number of visible points if they were evenly spaced, so that it does not change when
        a zoomed chart is moved."""
        points, width = self.metric.count(view), self.options.viewport.width
        if width is None:
            return points
        whole = extent((view,), self.options.x, self.options.log_x)
        return points if whole is None else points * min(1.0, width / (whole[1] - whole[0]))

    def _range(self) -> Range | None:
        whole = extent(self.views, self.options.x, self.options.log_x)
        if whole is None:
            return None
        if self.view.summary.status in _GROWING and not self.options.log_x:
            whole = whole[0], steady_end(whole)
        shown = self.options.viewport.shown(whole) or whole
        return (10.0 ** shown[0], 10.0 ** shown[1]) if self.options.log_x else shown

    def _lines(self, samples: MetricSamples) -> tuple[ChartLine, ...]:
        if self.others:
            return self._overlaid()
        view, metric, options = self.view, self.metric, self.options
        x = samples.at(x_of(view, options.x, metric.evals))
        values = samples.values
        if len(x) != len(values) or not len(x):
            return _validation(self) if metric is LOSS else ()
        if metric.evals:
            return (ChartLine(x, values, "smooth"), ChartLine(x, values, "validation"))
        weight = self.weight()
        if weight == 0:
            lines: tuple[ChartLine, ...] = (_spanning(ChartLine(x, values, "smooth"), samples),)
        else:
            smoothed = self._smoothed(view, samples, weight)
            lines = (ChartLine(x, smoothed, "smooth", f"smoothed {weight_text(weight)}"),)
            if options.raw:
                lines = (_spanning(ChartLine(x, values, "raw", "raw"), samples), *lines)
        return lines + _validation(self) if metric is LOSS else lines

    def _overlaid(self) -> tuple[ChartLine, ...]:
        """A line for each run, the main one bold and on top, its values faint behind all."""
        lines: list[ChartLine] = []
        metric, options = self.metric, self.options
        for view in self.views:
            weight = self.weight(view)
            samples = metric.samples(view)
            x = samples.at(x_of(view, options.x, metric.evals))
            if len(x) != len(samples.values) or not len(x):
                continue
            slot = self.slots.get(view.summary.path, 0)
            main = view is self.view
            y = self._smoothed(view, samples, weight) if weight else samples.values
            line = ChartLine(x, y, "series", view.summary.name, slot, None, letter(slot), main)
            lines.append(line if weight else _spanning(line, samples))
            if weight and options.raw and main:
                lines.append(_spanning(ChartLine(x, samples.values, "raw"), samples))
        return tuple(lines) + (_validation(self) if metric is LOSS else ())

    def _smoothed(self, view: RunView, samples: MetricSamples, weight: float) -> Array:
        """The average; an entry of a thinned table counts for all its rows."""
        name = (view.summary.path, self.metric.id)
        return self.averages.of(name, samples.values, weight, samples.counts)

    def _titles(self, samples: MetricSamples, log_y: bool) -> tuple[str, str]:
        view, metric = self.view, self.metric
        if self.cursor is not None:
            title, detail = self._at_cursor(self.cursor)
        else:
            newest = metric.last(view)
            if newest is None:
                return clean(metric.title), ""
            title = f"{clean(metric.title)} {_value(metric, newest)}"
            detail = _bests(view, metric)
        if self.others and (weight := self.weight()):  # the legend has the runs' names
            detail = f"{detail}   smoothed {weight_text(weight)}".strip()
        if log_y:
            below = int((samples.values <= 0).sum())
            omitted = f", {formats.plural(below, 'value')} not above 0 omitted" if below else ""
            detail = f"{detail}   log{omitted}".strip()
        return title, detail

    def _at_cursor(self, step: float) -> tuple[str, str]:
        """Title and detail for the value at the cursor instead of the newest."""
        metric, axis = self.metric, self.options.x
        at = x_of_step(self.view, axis, step)
        found = read(self.view, metric, axis, at)
        if found.value is None:
            return clean(metric.title), f"no value at step {formats.count(step)}"
        text = _value(metric, found.value) if np.isfinite(found.value) else found.text()
        detail = found.span or f"at step {formats.count(found.step)}"
        return f"{clean(metric.title)} {text}", detail


def steady_end(whole: Range) -> float:
    """The end of a growing axis, rounded up so that it is constant for some rows: meanwhile only
    the newest columns of a live chart change."""
    unit = 2.0 ** math.floor(math.log2((whole[1] - whole[0]) / _STEADY))
    return whole[0] + math.ceil((whole[1] - whole[0]) / unit) * unit


def letter(slot: int) -> str:
    """The letter of a run in an overlay."""
    return chr(ord("A") + slot % 26)


def x_of_step(view: RunView, axis: XAxis, step: float) -> float:
    """The x of a step of a run, in the units of the axis."""
    if axis == "step":
        return step
    at = np.array([step], dtype=np.float64)
    return float(between(at, view.train.column("step"), x_of(view, axis))[0])


def _spanning(line: ChartLine, samples: MetricSamples) -> ChartLine:
    """The line from each bucket's lowest to its highest value, if the table is thinned."""
    if samples.low is None or samples.high is None:
        return line
    return ChartLine(line.x, samples.low, line.role, line.label, line.colour, samples.high,
                line.tag, line.strong)  # fmt: skip


def _validation(plot: Plot) -> tuple[ChartLine, ...]:
    samples = VALIDATION.samples(plot.view)
    at = samples.at(x_of(plot.view, plot.options.x, True))
    if not len(at) or len(at) != len(samples.values):
        return ()
    return (ChartLine(at, samples.values, "validation", "val"),)


def _value(metric: Metric, value: float) -> str:
    return formats.rate(value) if metric is LEARNING_RATE else number(value)


def _bests(view: RunView, metric: Metric) -> str:
    if metric is VALIDATION:
        accuracy = view.evals.last("val_accuracy")
        text = "" if accuracy is None else f"  accuracy {formats.score(accuracy)}"
        return _best(view.evals, "val_loss") + text
    if metric is not LOSS:
        return ""
    best, validation = _best(view.train, "loss"), view.evals.last("val_loss")
    if validation is None:
        return best
    return f"{best}   val {number(validation)}  {_best(view.evals, 'val_loss')}"


def _best(table: MetricTable, name: str) -> str:
    found = table.best(name)
    return "" if found is None else f"best {number(found[0])} @ {formats.count(found[1])}"


def _marks(view: RunView, axis: XAxis) -> tuple[ChartMark, ...]:
    """The marks of events. An event has a step; its x on other axes is that of the step."""
    kept: list[tuple[MarkKind, float]] = []
    for event in view.events:
        if event.kind == "rollback":  # the steps after it were discarded
            kept = [(kind, at) for kind, at in kept if at < event.step]
            kept.append(("resumed", float(event.step)))
        elif (kind := _kind(event)) is not None:
            kept.append((kind, float(event.step)))
    if view.advice is not None:  # each advice once, however many events it has
        kept = [item for item in kept if item[0] != "advice"]
        kept += [("advice", float(advice.step)) for advice in view.advice]
    if not any(kind == "resumed" for kind, _ in kept):
        kept += [("resumed", step) for step in view.resumed_at]
    if not kept:
        return ()
    at = np.array([step for _, step in kept], dtype=np.float64)
    if axis != "step":
        at = between(at, view.train.column("step"), x_of(view, axis))
    pairs = zip(kept, at.tolist(), strict=True)
    return tuple(mark(kind, x) for (kind, _), x in pairs)


def _windows(view: RunView, metric: Metric, axis: XAxis) -> tuple[HighlightWindow, ...]:
    """The evidence of open advice on this metric; its normal level is drawn up to the end."""
    shown = {metric.id, *(("val_loss",) if metric is LOSS else ())}
    found = [
        advice
        for advice in view.advice or ()
        if advice.status != "closed" and advice.evidence.metric in shown
    ]
    newest = float(view.train.column("step")[-1]) if len(view.train) else 0.0
    windows = []
    for advice in found[-_WINDOWS:]:
        steps = (advice.evidence.first_step, advice.evidence.last_step, newest)
        first, last, until = (x_of_step(view, axis, float(step)) for step in steps)
        windows.append(HighlightWindow(first, last, _levels(advice), until))
    return tuple(windows)


def _levels(advice: Advice) -> tuple[float, ...]:
    """The levels to compare the window with: the normal band, the noise around a plateau, or the
    level before."""
    evidence, numbers = advice.evidence, advice.evidence.numbers
    if "low" in numbers and "high" in numbers:
        return numbers["low"], numbers["high"]
    if advice.kind in ("oscillation", "instability"):
        return ()  # an older run has a spread without its band, which is no level
    if advice.kind == "plateau" and evidence.value is not None:
        noise = 2 * numbers.get("noise", 0.0)
        return evidence.value - noise, evidence.value + noise
    return () if evidence.level is None else (evidence.level,)


def _kind(event: Event) -> MarkKind | None:
    for kind in GLYPHS:
        if event.kind == kind:
            return kind
    return None


def _empty(view: RunView, metric: Metric) -> str:
    if metric is VALIDATION:
        return "no evaluations yet"
    if not len(view.train) and not len(view.evals):
        return "no steps yet"
    if not metric.recorded(view):
        return f"this run records no {clean(metric.title)}"
    return "no finite values yet"


def _trace(table: MetricTable) -> tuple[object, ...]:
    """A key that differs between two states of a growing table."""
    ends = tuple(
        (name, float(column[0]), float(column[-1]))
        for name, column in table.columns.items()
        if len(column) and name in ("step", "time", "loss", "val_loss")
    )
    return len(table), table.rows, len(table.columns), repr(ends)
