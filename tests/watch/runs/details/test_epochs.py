"""The results of a run by epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tui_trainer.contracts.runs.run import BestEvaluation, RunState
from tui_trainer.watch.runs.details.epochs import epoch_results
from tui_trainer.watch.snapshots import MetricTable, RunSummary, RunView
from tui_trainer.watch.tables.growing_table import GrowingTable

SUMMARY = RunSummary(Path("/runs/a"), "a", "alpha", "run", "training")


def table(**columns: list[float]) -> MetricTable:
    return MetricTable({name: np.array(values, dtype=float) for name, values in columns.items()})


def view(state: RunState | None = None) -> RunView:
    train = table(
        step=[1, 2, 3, 4, 5],
        epoch=[0.5, 1.0, 1.5, 2.0, 2.5],
        loss=[4, 2, np.nan, 1, 0.5],
        accuracy=[0.1, 0.3, 0.5, 0.7, 0.9],
        learning_rate=[1e-4, 2e-4, 1e-4, 5e-5, 0],
        step_time_ms=[1000, 1000, 500, 500, 250],
        examples=[8, 4, 8, 4, 8],
    )
    evals = table(
        step=[1, 2, 4], epoch=[0.5, 1.0, 2.0], val_loss=[3, 2.5, 2.7], val_accuracy=[0.1, 0.2, 0.4]
    )
    return RunView(SUMMARY, state=state, train=train, evals=evals)


def test_each_epoch_has_its_means_its_last_evaluation_and_its_speed() -> None:
    one, two, three = epoch_results(view())
    assert (one.epoch, one.step, one.loss, one.seconds) == (1, 2, 3.0, 2.0)
    assert one.accuracy == pytest.approx(0.2) and one.learning_rate == 2e-4
    assert one.samples_per_second == 6.0
    assert one.evaluation == {"val_loss": 2.5, "val_accuracy": 0.2}
    assert (two.loss, two.samples_per_second) == (1.0, 12.0)  # the mean leaves NaN out
    assert three.evaluation == {}
    assert [result.share for result in (one, two, three)] == [1.0, 1.0, 0.5]


def test_the_best_epoch_is_that_of_the_runs_own_metric() -> None:
    assert [result.best for result in epoch_results(view())] == [True, False, False]
    best = BestEvaluation(metric="val_accuracy", value=0.4, step=4)
    state = RunState(state="training", best=best)
    assert [result.best for result in epoch_results(view(state))] == [False, True, False]


def test_a_run_without_epochs_has_no_results() -> None:
    assert epoch_results(RunView(SUMMARY)) == ()
    rows = table(step=[1, 2], epoch=[np.nan, 1.0], loss=[1, 2])
    assert epoch_results(RunView(SUMMARY, train=rows)) == ()


def test_the_entries_of_a_thinned_table_count_as_many_rows_as_they_are() -> None:
    growing = GrowingTable(most=64)
    steps = np.arange(1.0, 513.0)
    growing.extend(
        {
            "step": steps, "epoch": steps / 256, "loss": steps,
            "step_time_ms": np.full(512, 10.0), "examples": np.full(512, 2.0),
        }
    )  # fmt: skip
    rows = growing.table()
    assert rows.thinning > 1
    results = epoch_results(RunView(SUMMARY, train=rows))
    assert [result.epoch for result in results] == [1, 2]
    assert sum(result.seconds or 0 for result in results) == pytest.approx(5.12)
    assert [result.samples_per_second for result in results] == [pytest.approx(200)] * 2
