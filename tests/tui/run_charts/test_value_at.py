"""What is under the cursor, and how the cursor moves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tui_trainer.tui.charts.model import Palette
from tui_trainer.tui.run_charts import cursor
from tui_trainer.tui.run_charts.metrics import GRADIENT_NORM, LEARNING_RATE, LOSS, VALIDATION
from tui_trainer.tui.run_charts.plot import ChartOptions, Plot
from tui_trainer.tui.run_charts.readout_items import items_of
from tui_trainer.tui.run_charts.value_at import read
from tui_trainer.watch.snapshots import MISSING, MetricTable, RunSummary, RunView


def run(name: str = "a", rows: int = 100, offset: float = 0.0) -> RunView:
    step = np.arange(1.0, rows + 1)
    loss = 10 + offset - step / 100
    loss[49:50] = math.nan
    rate = np.where(step % 10 == 0, 1e-4, MISSING)
    train = MetricTable({"step": step, "epoch": step / 50, "time": 1e9 + 2 * step, "loss": loss,
                   "learning_rate": rate})  # fmt: skip
    evals = MetricTable({"step": np.array([20.0, 40.0]), "val_loss": np.array([5.5, 5.25])})
    summary = RunSummary(Path(f"/runs/{name}"), name, name, "jsonl", "unknown")
    return RunView(summary, train=train, evals=evals)


def thinned() -> RunView:
    """Two entries of four rows each, and a single one."""
    step = np.array([4.0, 8.0, 9.0])
    train = MetricTable(
        {"step": step, "loss": np.array([2.0, 3.0, 7.0])},
        thinning=4,
        extremes={"loss": (np.array([1.0, 0.5, 7.0]), np.array([3.0, 42.0, 7.0]))},
        weights=np.array([4, 4, 1], dtype=np.int32),
        recorded=9,
    )
    return RunView(RunSummary(Path("/runs/t"), "t", "t", "jsonl", "unknown"), train=train)


def test_exact_values_at_a_step() -> None:
    found = read(run(), LOSS, "step", 30.0)
    assert (found.value, found.step, found.span) == (9.7, 30.0, "")
    assert read(run(), LOSS, "epoch", 0.6) == found
    assert read(run(), LOSS, "clock", 1e9 + 60) == found
    assert read(run(), LOSS, "time", 58.0) == found


def test_the_nearest_entry_where_a_row_lacks_the_metric() -> None:
    found = read(run(), LEARNING_RATE, "step", 33.0)
    assert (found.value, found.step) == (1e-4, 30.0)


def test_a_value_that_is_not_finite_is_marked_as_such() -> None:
    assert read(run(), LOSS, "step", 50.0).text() == "not finite"


def test_the_newest_evaluation_made_by_then() -> None:
    assert read(run(), VALIDATION, "step", 39.0).value == 5.5
    assert read(run(), VALIDATION, "step", 90.0).step == 40.0
    assert read(run(), VALIDATION, "step", 19.0).value is None


@pytest.mark.parametrize("x", [-50.0, 140.0, math.nan, math.inf])
def test_nothing_where_the_run_has_nothing(x: float) -> None:
    assert read(run(), LOSS, "step", x).value is None
    assert read(run(), GRADIENT_NORM, "step", 30.0).value is None


def test_a_value_of_a_thinned_table_names_the_averaged_steps() -> None:
    found = read(thinned(), LOSS, "step", 8.0)
    assert found.span == "mean of steps 5–8, min 0.5000, max 42"
    assert found.text() == "3, min 0.5000, max 42"
    single = read(thinned(), LOSS, "step", 9.0)
    assert (single.span, single.text()) == ("", "7")
    spec = Plot(thinned(), LOSS, ChartOptions(), cursor=8.0).spec()
    assert (spec.title, spec.detail) == ("loss 3", "mean of steps 5–8, min 0.5000, max 42")
    assert spec.cursor_x == 8.0


def test_a_thinned_metric_is_drawn_from_least_to_greatest() -> None:
    raw, smooth = Plot(thinned(), LOSS, ChartOptions(smoothing=0.9)).spec().lines
    assert raw.role == "raw" and raw.top is not None
    assert (raw.y.tolist(), raw.top.tolist()) == ([1.0, 0.5, 7.0], [3.0, 42.0, 7.0])
    assert smooth.top is None and smooth.y[0] == pytest.approx(2.0)


def test_the_readout_names_every_run() -> None:
    one, two = run("one"), run("two", rows=30, offset=1.0)
    slots = {one.summary.path: 0, two.summary.path: 1}
    plot = Plot(one, LOSS, ChartOptions(), (two,), slots, cursor=25.0)
    position, first, second = items_of(plot, (LOSS,), Palette())
    assert position.value.startswith("25  epoch 0.500  time 48 s")
    assert (first.tag, first.name, first.value) == ("A", "one", "9.750  val 5.500")
    assert (second.tag, second.name, second.value) == ("B", "two", "10.75  val 5.500")
    later = items_of(Plot(one, LOSS, ChartOptions(), (two,), slots, cursor=60.0), (), Palette())
    assert later[2].value == "–"  # it ended before
    assert items_of(Plot(one, LOSS, ChartOptions()), (LOSS,), Palette()) == ()


def test_the_readout_of_one_run_has_every_chart_that_is_seen() -> None:
    plot = Plot(run(), LOSS, ChartOptions(), cursor=45.0)
    items = items_of(plot, (LOSS, LEARNING_RATE), Palette())
    messages = {item.name: item.value for item in items}
    assert messages["learning rate"] == "1e-4 @ 40" and messages["loss"] == "9.550"
    assert messages["validation loss"] == "5.250 @ 40"


def test_the_cursor_moves_by_columns_but_by_a_step_at_least() -> None:
    few, many = run(), run(rows=4000)
    assert cursor.moved(few, "step", 50.0, 1, None, 100) == 51.0
    assert cursor.moved(few, "step", 50.0, -10, None, 100) == 40.0
    assert cursor.moved(many, "step", 50.0, 1, None, 100) == 70.0  # 20 rows to a dot column
    assert cursor.moved(many, "step", 50.0, 1, (40.0, 60.0), 100) == 51.0  # zoomed in
    assert cursor.moved(few, "step", 100.0, 1, None, 100) == 100.0
    assert cursor.moved(few, "step", 1.0, -10, None, 100) == 1.0


def test_the_cursor_moves_to_the_visible_ends_and_to_the_pointer() -> None:
    assert cursor.end_of(run(), "step", None, True) == 100.0
    assert cursor.end_of(run(), "epoch", (0.5, 1.0), False) == 25.0
    assert cursor.nearest_step(run(), "epoch", 0.61) == 30.0
    assert cursor.nearest_step(run(), "tokens", 5.0) is None
    assert cursor.nearest_step(run(), "step", math.nan) is None
