"""From columns to charts, and what part of them is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.advice import Advice, AdviceKind, Evidence
from tui_trainer.contracts.runs.run import Event
from tui_trainer.text.formats import number
from tui_trainer.tui.charts.smoothing import auto_weight, weight_text
from tui_trainer.tui.run_charts.metrics import (
    GRADIENT_NORM,
    LEARNING_RATE,
    LOSS,
    THROUGHPUT,
    VALIDATION,
    Metric,
)
from tui_trainer.tui.run_charts.plot import ChartOptions, Plot, steady_end
from tui_trainer.tui.run_charts.viewport import ALL, Viewport
from tui_trainer.tui.run_charts.x_axis import X_AXES, XAxis, available, extent
from tui_trainer.watch.snapshots import MetricTable, RunSummary, RunView

WHOLE = (0.0, 1000.0)


def run(rows: int = 100, status: str = "training") -> RunView:
    step = np.arange(1.0, rows + 1)
    train = MetricTable(
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
    evals = MetricTable({"step": at, "val_loss": np.array([0.5, 0.7]), "time": 1e9 + 2 * at})
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


def test_the_accuracy_has_three_decimals() -> None:
    evals = MetricTable(
        {
            "step": np.array([20.0]),
            "val_loss": np.array([0.5]),
            "val_accuracy": np.array([1.0]),
        }
    )
    spec = Plot(replace(run(), evals=evals), VALIDATION, ChartOptions()).spec()
    assert spec.detail.endswith("accuracy 1.000")


def test_paused_runs_are_dimmed() -> None:
    assert Plot(run(status="paused"), LOSS, ChartOptions()).spec().dimmed


def test_no_smoothing_draws_the_values_themselves() -> None:
    spec = Plot(run(), GRADIENT_NORM, ChartOptions(smoothing=0.0)).spec()
    assert [line.role for line in spec.lines] == ["smooth"]


def learned(rows: int) -> RunView:
    """A loss that falls to 0.26 at its last row, and a validation loss that it passes midway."""
    step = np.arange(1.0, rows + 1)
    loss = np.linspace(2.0, 0.26, rows)
    at = step[rows // 5 - 1 :: rows // 5]
    return replace(
        run(),
        train=MetricTable({"step": step, "loss": loss}),
        evals=MetricTable({"step": at, "val_loss": np.full(len(at), 1.0)}),
    )


@pytest.mark.parametrize("rows", [10, 50, 100, 1_000, 20_000])
def test_the_bright_line_ends_where_the_loss_does(rows: int) -> None:
    spec = Plot(learned(rows), LOSS, ChartOptions()).spec()
    bright = next(line for line in spec.lines if line.role == "smooth")
    assert spec.title == f"loss {number(0.26)}"
    assert bright.y[-1] == pytest.approx(0.26, abs=0.02)
    if rows <= 50:
        assert bright.y.tolist() == learned(rows).train.column("loss").tolist()
        assert bright.label == ""
    else:
        assert bright.label == f"smoothed {weight_text(auto_weight(rows))}"
    # Where training passes validation is seen where it happens.
    crossings = [
        int(np.flatnonzero(y < 1.0)[0]) for y in (learned(rows).train.column("loss"), bright.y)
    ]
    assert 0 <= crossings[1] - crossings[0] <= rows / 100


def test_smoothing_depends_on_the_number_of_visible_points_only() -> None:
    view = learned(1_000)
    whole = Plot(view, LOSS, ChartOptions())
    widths = (1_000.0, 600.0, 360.0, 100.0, 40.0)
    weights = [
        Plot(view, LOSS, ChartOptions(viewport=Viewport(width, 500.0, False))).weight()
        for width in widths
    ]
    assert weights[0] == whole.weight() and weights[-1] == 0
    assert weights == sorted(weights, reverse=True) and len(set(weights)) == len(widths)
    moved = ChartOptions(viewport=Viewport(360.0, 900.0, False))
    assert Plot(view, LOSS, moved).weight() == weights[2]
    assert Plot(view, LOSS, replace(moved, smoothing=0.9)).weight() == 0.9
    assert Plot(view, VALIDATION, moved).weight() == Plot(view, LEARNING_RATE, moved).weight() == 0


def test_each_run_of_an_overlay_has_the_smoothing_of_its_own_points() -> None:
    short = replace(learned(20), summary=replace(run().summary, path=Path("/runs/b")))
    spec = Plot(learned(1_000), LOSS, ChartOptions(), others=(short,)).spec()
    assert spec.detail.endswith("   smoothed 0.9")
    ends = [line.y[-1] for line in spec.lines if line.role == "series"]
    assert ends[1] == 0.26 and 0.26 < ends[0] < 0.29


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
        ("clock", [1e9 + 40, 1e9 + 80], [1e9 + 40, 1e9 + 80]),
    ],
)
def test_every_axis_positions_lines_and_marks(
    axis: XAxis, eval_at: list[float], mark_at: list[float]
) -> None:
    spec = Plot(run(), LOSS, ChartOptions(x=axis)).spec()
    assert spec.lines[-1].x.tolist() == pytest.approx(eval_at)
    assert [mark.x for mark in spec.marks] == pytest.approx(mark_at)
    assert spec.x_format == {"time": "duration", "clock": "clock"}.get(axis, "number")


def test_missing_columns_are_reported() -> None:
    view = replace(run(), train=MetricTable({"step": np.arange(3.0), "loss": np.ones(3)}))
    spec = Plot(view, LEARNING_RATE, ChartOptions()).spec()
    assert spec.lines == () and spec.empty == "this run records no learning rate"
    empty = replace(run(), train=MetricTable(), evals=MetricTable())
    assert Plot(empty, LOSS, ChartOptions()).spec().empty == "no steps yet"
    assert Plot(empty, VALIDATION, ChartOptions()).spec().empty == "no evaluations yet"
    for axis in X_AXES:
        assert extent([empty], axis) is None
    assert available([empty]) == ["step"] and available([run()]) == list(X_AXES)


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
    anchor = low + 0.25 * (high - low)
    assert zoomed[0] + 0.25 * (zoomed[1] - zoomed[0]) == pytest.approx(anchor)


def test_the_pointer_may_leave_the_live_end() -> None:
    assert ALL.zoomed(1, WHOLE, at=0.0).shown(WHOLE) == (0.0, 600.0)
    assert not ALL.zoomed(1, WHOLE, at=0.5).follows
    assert ALL.zoomed(1, WHOLE, at=0.95).follows


def test_dragging_and_showing_a_position() -> None:
    view = ALL.zoomed(1, WHOLE)
    assert view.moved(-0.1, WHOLE).shown(WHOLE) == (340.0, 940.0)
    assert view.with_x(500.0, WHOLE) == view
    assert view.with_x(100.0, WHOLE).shown(WHOLE) == pytest.approx((100.0, 700.0))


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


def test_marks_of_every_kind_and_of_foreign_resumes() -> None:
    kinds = ("advice", "learning_rate", "evaluation", "state", "command", "warning")
    events = tuple(Event(time=0, step=10 + anchor, kind=kind) for anchor, kind in enumerate(kinds))
    view = replace(run(), events=events, resumed_at=(70.0,))
    spec = Plot(view, LOSS, ChartOptions()).spec()
    assert [(mark.x, mark.glyph) for mark in spec.marks] == [
        (10.0, "!"), (11.0, "l"), (12.0, "e"), (70.0, "r"),
    ]  # fmt: skip
    reported = replace(view, events=(Event(time=0, step=71, kind="resumed"),))
    assert [mark.x for mark in Plot(reported, LOSS, ChartOptions()).spec().marks] == [71.0]


def test_a_rollback_removes_the_marks_of_discarded_steps() -> None:
    reported = (("checkpoint", 10), ("learning_rate", 15), ("rollback", 10), ("evaluation", 20))
    events = tuple(Event(time=0, step=step, kind=kind) for kind, step in reported)
    spec = Plot(replace(run(), events=events), LOSS, ChartOptions()).spec()
    assert [(mark.x, mark.glyph) for mark in spec.marks] == [(10.0, "r"), (20.0, "e")]


def test_an_overlay_pins_the_first_run_on_top() -> None:
    other = replace(run(150), summary=RunSummary(Path("/runs/b"), "b", "b", "run", "training"))
    slots = {Path("/runs/a"): 3, Path("/runs/b"): 0}
    spec = Plot(run(), LOSS, ChartOptions(), (other,), slots).spec()
    found = [(line.role, line.label, line.tag, line.colour, line.strong) for line in spec.lines]
    assert found == [
        ("series", "a", "D", 3, True),
        ("raw", "", "", 0, False),
        ("series", "b", "A", 0, False),
        ("validation", "val", "", 0, False),
    ]
    assert spec.x_range is not None and spec.x_range[1] >= 150.0
    bare = Plot(run(), LOSS, ChartOptions(raw=False), (other,), slots).spec()
    assert "raw" not in [line.role for line in bare.lines]
    later = Plot(run(), LOSS, ChartOptions(), (replace(other, train=run(151).train),), slots)
    assert later.key != Plot(run(), LOSS, ChartOptions(), (other,), slots).key


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e7), st.floats(0, 0.02))
def test_a_live_axis_is_constant_for_some_rows(low: float, width: float, more: float) -> None:
    end = steady_end((low, low + width))
    slack = 1e-9 * (abs(low) + width)
    assert low + width - slack <= end <= low + width * (1 + 1 / 32) + slack
    grown = steady_end((low, low + width * (1 + more)))
    assert grown >= end - slack


def test_the_end_of_a_run_that_is_over_is_exact() -> None:
    over = Plot(run(101, "completed"), LOSS, ChartOptions()).spec()
    assert over.x_range == (1.0, 101.0)


def test_log_axes_count_the_omitted_values() -> None:
    view = run(status="completed")
    columns = dict(view.train.columns) | {"step": np.arange(100.0)}
    columns["loss"] = np.where(columns["step"] < 3, -1.0, columns["loss"])
    logged = replace(view, train=MetricTable(columns))
    spec = Plot(logged, LOSS, ChartOptions(log_y=True, log_x=True)).spec()
    assert spec.detail.endswith("log, 3 values not above 0 omitted") and spec.log_x
    assert spec.x_range == pytest.approx((1.0, 99.0))  # step 0 has no place on a log axis
    zoomed = ALL.zoomed(1, extent([logged], "step", log=True) or WHOLE)
    part = Plot(logged, LOSS, ChartOptions(log_x=True, viewport=zoomed)).spec().x_range
    assert part is not None and part[1] == pytest.approx(99.0) and part[0] > 5.0


def advised(kind: AdviceKind, numbers: dict[str, float], metric: str = "loss") -> RunView:
    evidence = Evidence(
        metric=metric, first_step=60, last_step=70, value=0.2, level=0.1, numbers=numbers
    )
    advice = Advice(
        id="a-1", kind=kind, urgency="high", status="raised", step=70, updated_step=70,
        learning_rate=1e-3, suggested_lr=5e-4, factor=0.5, reason="", evidence=evidence,
        confidence=0.9,
    )  # fmt: skip
    return replace(run(), advice=(advice,))


def test_evidence_is_drawn_from_its_window_up_to_now() -> None:
    """A rise against the level before it, a swing against its band, a plateau in its noise."""
    band = {"low": 0.5, "high": 1.5}
    reported: tuple[tuple[AdviceKind, dict[str, float], tuple[float, ...]], ...] = (
        ("divergence", {}, (0.1,)),
        ("plateau", {"noise": 0.0625}, (0.2 - 0.125, 0.2 + 0.125)),
        ("oscillation", band, (0.5, 1.5)),
        ("oscillation", {}, ()),
    )
    for kind, numbers, levels in reported:
        view = advised(kind, numbers)
        (window,) = Plot(view, LOSS, ChartOptions()).spec().windows
        assert (window.first, window.last, window.until) == (60.0, 70.0, 100.0)
        assert window.levels == levels, kind
    other = advised("instability", band, "gradient_norm")
    assert not Plot(other, LOSS, ChartOptions()).spec().windows
