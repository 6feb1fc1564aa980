"""Every metric of a run is a chart, in an order that answers questions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from tui_trainer.tui.dashboard.find_metric import matching
from tui_trainer.tui.run_charts.metrics import (
    LEARNING_RATE,
    LOSS,
    PERPLEXITY,
    THROUGHPUT,
    metrics_of,
)
from tui_trainer.watch.snapshots import MISSING, MetricTable, RunKind, RunSummary, RunView

STEP = np.arange(1.0, 11.0)


def view(kind: RunKind = "jsonl", evals: tuple[str, ...] = (), **columns: object) -> RunView:
    train = {"step": STEP} | {name: np.asarray(values) for name, values in columns.items()}
    measured = {"step": STEP[4::5]} | {name: np.ones(2) for name in evals}
    summary = RunSummary(Path("/runs/a"), "a", "a", kind, "unknown")
    return RunView(summary, train=MetricTable(train), evals=MetricTable(measured if evals else {}))


def ids(*views: RunView, pins: tuple[str, ...] = ()) -> list[str]:
    return [metric.id for metric in metrics_of(views, pins)]


def test_the_leading_metrics_come_first_then_the_rest_as_found() -> None:
    run = view(accuracy=STEP, gradient_norm=STEP, loss=STEP, evals=("accuracy", "val_loss"))
    assert ids(run) == ["loss", "gradient_norm", "validation", "accuracy", "eval:accuracy"]
    titles = [metric.title for metric in metrics_of([run])]
    assert titles[-2:] == ["training accuracy", "accuracy (evaluation)"]


def test_our_own_run_shows_standard_charts_before_they_have_values() -> None:
    run = view("run", loss=STEP, tokens=STEP, step_time_ms=STEP)
    assert ids(run)[:5] == ["loss", "learning_rate", "gradient_norm", "throughput", "validation"]
    assert ids(run)[5:] == ["tokens", "step_time_ms"]


def test_a_causal_model_has_perplexities_of_its_losses() -> None:
    run = view("run", loss=np.log(STEP), tokens=STEP, step_time_ms=STEP, evals=("val_loss",))
    assert "perplexity" not in ids(run)
    run = replace(run, config={"task": "causal-lm"})
    assert ids(run)[-2:] == ["perplexity", "eval:perplexity"]
    perplexity = metrics_of([run])[-2]
    np.testing.assert_allclose(perplexity.samples(run).values, STEP)
    assert math.isclose(perplexity.last(run) or 0, 10) and perplexity.export_name == "perplexity"
    huge = replace(view("run", loss=[1e5]), config={"task": "causal-lm"})
    assert math.isfinite(PERPLEXITY.last(huge) or math.inf)


def test_a_metric_without_values_has_no_chart() -> None:
    run = view("run", loss=STEP, prediction_error=np.full(10, np.nan))
    assert "prediction_error" not in ids(run)
    assert run.train.measured() == ("loss",)


def test_a_run_without_a_loss_leads_with_what_it_has() -> None:
    assert ids(view(reward=STEP, kl=STEP)) == ["reward", "kl"]


def test_a_single_chart_is_followed_by_one_for_a_missing_metric() -> None:
    assert ids(view(loss=STEP)) == ["loss", "learning_rate"]
    assert not LEARNING_RATE.recorded(view(loss=STEP))


def test_what_never_had_a_value_has_no_chart() -> None:
    assert ids(view(loss=STEP, lr=STEP, broken=np.full(10, math.nan))) == ["loss", "lr"]


def test_pins_come_right_after_the_first() -> None:
    run = view(loss=STEP, a=STEP, b=STEP, c=STEP)
    assert ids(run, pins=("c", "b", "gone")) == ["loss", "c", "b", "a"]


def test_an_overlay_has_the_charts_of_all_its_runs() -> None:
    assert ids(view(loss=STEP, a=STEP), view(loss=STEP, b=STEP)) == ["loss", "a", "b"]


def test_rows_that_lack_a_metric_are_no_gaps_and_those_not_finite_are() -> None:
    values = np.array([1.0, MISSING, 3.0, math.nan, MISSING, 6.0, 7.0, 8.0, 9.0, 10.0])
    run = view(loss=values)
    samples = LOSS.samples(run)
    assert samples.at(STEP).tolist() == [1.0, 3.0, 4.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    assert math.isnan(samples.values[2])


def test_throughput_is_worked_out() -> None:
    run = view("run", tokens=np.full(10, 100.0), step_time_ms=np.full(10, 50.0))
    assert THROUGHPUT.last(run) == 2000.0
    assert THROUGHPUT.last(replace(run, train=MetricTable())) is None


def test_finding_a_metric_by_a_part_of_its_name() -> None:
    metrics = metrics_of([view(loss=STEP, lr=STEP, val_f1=STEP, f1=STEP, rouge_f=STEP)])
    found = [metric.id for metric in matching(metrics, "F1")]
    assert found == ["f1", "val_f1"]  # what begins with it comes first
    assert [metric.id for metric in matching(metrics, "f rouge")] == ["rouge_f"]
    assert [metric.id for metric in matching(metrics, "vlf")] == ["val_f1"]  # letters in order
    assert matching(metrics, "nothing") == []
    assert len(matching(metrics, " ")) == 5
