"""The items of the readout: the runs of an overlay, and the values at the cursor. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style

from tui_trainer.text import formats
from tui_trainer.text.formats import clock, duration, number
from tui_trainer.tui.charts.model import Palette
from tui_trainer.tui.common.markup import shorten
from tui_trainer.tui.run_charts.metrics import LEARNING_RATE, LOSS, VALIDATION, Metric
from tui_trainer.tui.run_charts.plot import Plot, letter, x_of_step
from tui_trainer.tui.run_charts.readout import ReadoutItem
from tui_trainer.tui.run_charts.value_at import ValueAt, read
from tui_trainer.tui.run_charts.x_axis import x_of

_LONGEST_NAME = 24


def items_of(plot: Plot, metrics: Sequence[Metric], palette: Palette) -> tuple[ReadoutItem, ...]:
    """The items for the focused chart `plot` and the other visible `metrics`."""
    if plot.cursor is None:
        return tuple(_run_items(plot, palette, None)) if plot.others else ()
    at = x_of_step(plot.view, plot.options.x, plot.cursor)
    items = [_cursor_item(plot)]
    if plot.others:
        return (*items, *_run_items(plot, palette, at))
    seen = [plot.metric, *(metric for metric in metrics if metric is not plot.metric)]
    if LOSS in seen and VALIDATION not in seen:
        seen.append(VALIDATION)
    for metric in seen:
        found = read(plot.view, metric, plot.options.x, at)
        if found.value is not None:
            items.append(ReadoutItem(metric.title, _value_text(metric, found, plot)))
    return tuple(items)


def _cursor_item(plot: Plot) -> ReadoutItem:
    """The position of the cursor on every axis that the run records."""
    step = plot.cursor or 0.0
    parts = [formats.count(step)]
    if len(x_of(plot.view, "epoch")):
        parts.append(f"epoch {number(x_of_step(plot.view, 'epoch', step), 3)}")
    if len(x_of(plot.view, "time")):
        parts.append(f"time {duration(x_of_step(plot.view, 'time', step))}")
        parts.append(clock(x_of_step(plot.view, "clock", step)))
    return ReadoutItem("step", "  ".join(parts), strong=True)


def _run_items(plot: Plot, palette: Palette, at: float | None) -> list[ReadoutItem]:
    items = []
    metric = plot.metric
    for view in plot.views:
        slot = plot.slots.get(view.summary.path, 0)
        if at is None:
            value = _number(metric, metric.last(view))
        else:
            found = read(view, metric, plot.options.x, at)
            validation = read(view, VALIDATION, plot.options.x, at)
            value = _value_text(metric, found, plot)
            if metric is LOSS and found.value is not None and validation.value is not None:
                value += f"  val {number(validation.value)}"
        colour = _colour(palette.of_series(slot))
        name = shorten(view.summary.name, _LONGEST_NAME)
        items.append(ReadoutItem(name, value, letter(slot), colour, view is plot.view))
    return items


def _value_text(metric: Metric, found: ValueAt, plot: Plot) -> str:
    """The value, and its step if that differs from the cursor's."""
    text = found.text() if found.span or found.value != found.value else ""
    text = text or _number(metric, found.value)
    if found.step is not None and found.step != plot.cursor:
        text += f" @ {formats.count(found.step)}"
    return text


def _number(metric: Metric, value: float | None) -> str:
    return formats.rate(value) if metric is LEARNING_RATE and value is not None else number(value)


def _colour(style: Style) -> str:
    return style.color.get_truecolor().hex if style.color is not None else ""
