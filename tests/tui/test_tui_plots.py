"""From columns to charts, and what part of them is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.run import Event
from tui_trainer.tui.charts.text import number
from tui_trainer.tui.plots import (
    GRADIENT_NORM,
    LEARNING_RATE,
    LOSS,
    THROUGHPUT,
    VALIDATION,
    ChartOptions,
    Metric,
    Plot,
    XAxis,
    extent,
)
from tui_trainer.tui.viewport import ALL, Viewport
from tui_trainer.watch.view import RunSummary, RunView, Table

WHOLE = (0.0, 1000.0)


def run(rows: int = 100, status: str = "training") -> RunView:
    step = np.arange(1.0, rows + 1)
    train = Table(
        {
            "step": step,
            "epoch": step / 50,
            "loss": 3 / step,
            "learning_rate": np.full(rows, 2e-4),
            "gradient_norm": np.ones(rows),
            "tokens": np.full(rows, 100.0),
            "step_time_ms": np.full(rows, 50.0),
            "time": 1e9 + 2 * step,
        }
    )
    at = np.array([20.0, 40.0])
    evals = Table({"step": at, "val_loss": np.array([0.5, 0.7]), "time": 1e9 + 2 * at})
    events = (
        Event(time=0, step=20, kind="checkpoint"),
        Event(time=0, step=30, kind="state"),
        Event(time=0, step=40, kind="resumed"),
    )
    summary = RunSummary(Path("/runs/a"), "a", "a", "run", status)
    return RunView(summary, train=train, evals=evals, events=events)


def test_loss_chart() -> None:
    spec = Plot(run(), LOSS, ChartOptions()).spec()
    last, val, best = number(0.03), number(0.7), number(0.5)
    assert spec.title == f"loss {last}"
    assert spec.detail == f"best {last} @ 100   val {val}  best {best} @ 20"
    assert [line.role for line in spec.lines] == ["raw", "smooth", "validation"]
    assert [(mark.x, mark.glyph) for mark in spec.marks] == [(20.0, "c"), (40.0, "r")]
    assert not spec.dimmed


def test_paused_runs_are_dimmed() -> None:
    assert Plot(run(status="paused"), LOSS, ChartOptions()).spec().dimmed


def test_no_smoothing_draws_the_values_themselves() -> None:
    spec = Plot(run(), GRADIENT_NORM, ChartOptions(smoothing=0.0)).spec()
    assert [line.role for line in spec.lines] == ["smooth"]


@pytest.mark.parametrize(
    ("metric", "title"),
    [
        (LEARNING_RATE, "learning rate 2e-4"),
        (GRADIENT_NORM, f"gradient norm {number(1.0)}"),
        (THROUGHPUT, f"tokens/s {number(2000.0)}"),
        (VALIDATION, f"validation loss {number(0.7)}"),
    ],
)
def test_other_charts(metric: Metric, title: str) -> None:
    assert Plot(run(), metric, ChartOptions()).spec().title == title


@pytest.mark.parametrize(
    ("axis", "eval_at", "mark_at"),
    [
        ("step", [20, 40], [20, 40]),
        ("epoch", [0.4, 0.8], [0.4, 0.8]),
        ("tokens", [2000, 4000], [2000, 4000]),
        ("time", [38, 78], [38, 78]),
    ],
)
def test_every_axis_puts_everything_in_its_place(
    axis: XAxis, eval_at: list[float], mark_at: list[float]
) -> None:
    spec = Plot(run(), LOSS, ChartOptions(x=axis)).spec()
    assert spec.lines[-1].x.tolist() == pytest.approx(eval_at)
    assert [mark.x for mark in spec.marks] == pytest.approx(mark_at)
    assert spec.x_format == ("duration" if axis == "time" else "number")


def test_missing_columns_say_so() -> None:
    view = replace(run(), train=Table({"step": np.arange(3.0), "loss": np.ones(3)}))
    spec = Plot(view, LEARNING_RATE, ChartOptions()).spec()
    assert spec.lines == () and spec.empty == "this run records no learning rate"
    empty = replace(run(), train=Table(), evals=Table())
    assert Plot(empty, LOSS, ChartOptions()).spec().empty == "no step yet"
    assert Plot(empty, VALIDATION, ChartOptions()).spec().empty == "no evaluation yet"
    for axis in ("step", "epoch", "tokens", "time"):
        assert extent(empty, axis) is None


def test_keys_differ_when_charts_do() -> None:
    plot = Plot(run(), LOSS, ChartOptions())
    assert plot.key == Plot(run(), LOSS, ChartOptions()).key
    for other in (
        Plot(run(101), LOSS, ChartOptions()),
        Plot(run(status="paused"), LOSS, ChartOptions()),
        Plot(run(), GRADIENT_NORM, ChartOptions()),
        Plot(run(), LOSS, ChartOptions(log_y=True)),
        Plot(run(), LOSS, ChartOptions(viewport=Viewport(10.0))),
    ):
        assert other.key != plot.key


def test_zooming_in_keeps_the_live_end() -> None:
    view = ALL.zoomed(1, WHOLE)
    assert view.shown(WHOLE) == (400.0, 1000.0)
    assert view.shown((0.0, 1100.0)) == (500.0, 1100.0)
    assert view.zoomed(-1, WHOLE).shown(WHOLE) is None
    assert view.zoomed(0, WHOLE) == ALL


def test_panning_leaves_the_end_and_finds_it_again() -> None:
    earlier = ALL.zoomed(1, WHOLE).panned(-1, WHOLE)
    assert earlier.shown(WHOLE) == (250.0, 850.0)
    assert earlier.shown((0.0, 2000.0)) == (250.0, 850.0)  # stays while the run goes on
    assert earlier.panned(1, WHOLE).follows
    assert ALL.panned(-1, WHOLE) == ALL


def test_zooming_about_the_pointer() -> None:
    view = ALL.zoomed(1, WHOLE).panned(-1, WHOLE)
    low, high = view.shown(WHOLE) or WHOLE
    zoomed = view.zoomed(1, WHOLE, at=0.25).shown(WHOLE) or WHOLE
    place = low + 0.25 * (high - low)
    assert zoomed[0] + 0.25 * (zoomed[1] - zoomed[0]) == pytest.approx(place)


@given(
    st.lists(st.tuples(st.sampled_from(["zoom", "pan"]), st.sampled_from([-1, 1]),
                       st.floats(0, 1)), max_size=40),
    st.floats(-1e6, 1e6), st.floats(1e-3, 1e6),
)  # fmt: skip
def test_what_is_shown_lies_within_the_data(
    steps: list[tuple[str, int, float]], low: float, width: float
) -> None:
    whole = (low, low + width)
    view = ALL
    for kind, direction, at in steps:
        zoom = kind == "zoom"
        view = view.zoomed(direction, whole, at) if zoom else view.panned(direction, whole)
        shown = view.shown(whole)
        if shown is not None:
            slack = 1e-9 * (abs(low) + width)
            assert whole[0] - slack <= shown[0] < shown[1] <= whole[1] + slack
