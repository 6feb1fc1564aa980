"""A rate that was set by a command and broke the run is not set again by an earlier resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tui_trainer.launch.broken_rate import broken_rate
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
Engine = Callable[..., int]
At = Callable[..., None]
Metrics = Callable[[RunFolder], dict[Any, dict[str, Any]]]

BREAKS = 1e12


def rates(metrics: Metrics, folder: RunFolder) -> list[float]:
    rows = metrics(folder)
    return [rows["train", step]["learning_rate"] for step in range(1, 13)]


@pytest.fixture
def planned(make_run: MakeRun, run_engine: Engine, metrics: Metrics) -> list[float]:
    """The learning rates of a run without commands."""
    folder = make_run()
    assert run_engine(folder) == 0
    return rates(metrics, folder)


def test_a_resume_from_before_gives_the_run_without_the_rate_change(
    make_run: MakeRun, run_engine: Engine, at_step: At, metrics: Metrics, planned: list[float]
) -> None:
    folder = make_run()
    at_step(5, "set-lr", learning_rate=BREAKS)
    assert run_engine(folder) == 1
    found = broken_rate(folder)
    assert found is not None
    assert (found.step, found.rate, found.checkpoint) == (5, BREAKS, "step-00000004")
    assert found.before == pytest.approx(planned[5]) and found.peak is None
    assert "small went wrong after its learning rate was set to 1e12 at step 5" in found.description
    assert found.command.endswith("--from step-00000004")

    assert run_engine(folder, "--from", found.checkpoint) == 0
    assert rates(metrics, folder) == pytest.approx(planned)
    assert broken_rate(folder) is None


def test_a_resume_with_the_rate_breaks_again_and_is_detected_again(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    folder = make_run()
    at_step(5, "set-lr", learning_rate=BREAKS)
    assert run_engine(folder) == 1
    first = broken_rate(folder)
    assert run_engine(folder) == 1
    assert broken_rate(folder) == first


def test_without_an_earlier_checkpoint_the_run_restarts(
    make_run: MakeRun, run_engine: Engine, at_step: At, metrics: Metrics, planned: list[float]
) -> None:
    folder = make_run()
    at_step(1, "set-lr", learning_rate=BREAKS)
    assert run_engine(folder) == 1
    found = broken_rate(folder)
    assert found is not None and found.checkpoint == checkpoints.START
    assert found.before == pytest.approx(planned[1])
    assert run_engine(folder, "--from", found.checkpoint) == 0
    assert rates(metrics, folder) == pytest.approx(planned)


def test_from_the_start_later_checkpoints_are_set_aside(
    make_run: MakeRun, run_engine: Engine, at_step: At, metrics: Metrics, planned: list[float]
) -> None:
    folder = make_run()
    at_step(7, "set-lr", learning_rate=1e-4)
    at_step(8, "stop")
    assert run_engine(folder) == 0
    before = [path.name for _, path in checkpoints.list_checkpoints(folder)]
    assert run_engine(folder, "--from", "start") == 0
    assert rates(metrics, folder) == pytest.approx(planned)
    aside = {path.name for path in (folder.checkpoints_dir / "superseded").iterdir()}
    assert aside == set(before)


def test_a_rate_set_before_the_checkpoint_is_used_again(
    make_run: MakeRun, run_engine: Engine, at_step: At, metrics: Metrics, planned: list[float]
) -> None:
    folder = make_run()
    at_step(4, "set-lr", learning_rate=planned[4] / 4)
    at_step(5, "set-lr", learning_rate=BREAKS)
    assert run_engine(folder) == 1
    found = broken_rate(folder)
    assert found is not None and found.checkpoint == "step-00000004"
    assert found.before == pytest.approx(planned[5] / 4, rel=1e-3)
    assert found.peak == pytest.approx(5e-3 / 4, rel=1e-2)
    assert run_engine(folder, "--from", found.checkpoint, "--learning-rate", str(found.peak)) == 0
    assert rates(metrics, folder)[4:] == pytest.approx([rate / 4 for rate in planned[4:]], rel=1e-2)


def test_a_new_peak_replaces_rates_set_later(
    make_run: MakeRun, run_engine: Engine, at_step: At, metrics: Metrics, planned: list[float]
) -> None:
    """Also without a named checkpoint, and when the resumed run is stopped and resumed again."""
    folder = make_run(training={"checkpoint_every": 4})
    at_step(5, "set-lr", learning_rate=BREAKS)
    assert run_engine(folder) == 1
    at_step(5, "cancel")
    assert run_engine(folder, "--learning-rate", "2.5e-3") == 130
    assert run_engine(folder) == 0
    assert rates(metrics, folder)[4:] == pytest.approx([rate / 2 for rate in planned[4:]])


def test_other_runs_are_resumed_unchanged(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    folder = make_run()
    at_step(5, "set-lr", learning_rate=1e-4)
    at_step(6, "stop")
    assert run_engine(folder) == 0
    assert folder.status() == "cancelled" and broken_rate(folder) is None
