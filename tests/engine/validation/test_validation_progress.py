"""What an evaluation shows while it runs, and that it can be cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.conftest import At
from tui_trainer.contracts.runs.run import Command
from tui_trainer.engine.validation import validation_progress
from tui_trainer.engine.validation.validation_progress import ValidationProgress
from tui_trainer.store import atomic
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
Engine = Callable[..., int]
Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Step and text of every report; each pass is reported."""
    monkeypatch.setattr(validation_progress, "REPORT_SECONDS", 0.0)
    found: list[tuple[int, str]] = []
    original = ValidationProgress.text

    def text(self: ValidationProgress, seconds: float) -> str:
        found.append((self._session.state.step, original(self, 2.0)))
        return found[-1][1]

    monkeypatch.setattr(ValidationProgress, "text", text)
    return found


def test_the_examples_done_the_speed_and_the_loss_are_shown(
    make_run: MakeRun, run_engine: Engine, metrics: Metrics, reported: list[tuple[int, str]]
) -> None:
    folder = make_run(training={"max_steps": 4})
    assert run_engine(folder) == 0
    first, last = (text for step, text in reported if step == 4)
    assert first.startswith("3 of 4 examples evaluated, 1.5")
    loss = metrics(folder)["eval", 4]["val_loss"]
    assert f"4 of 4 examples evaluated, 2/s, loss so far {loss:.3f}, 0 s left" in last


def test_an_evaluation_is_cancelled_and_training_continues(
    make_run: MakeRun, run_engine: Engine, metrics: Metrics, reported: list[tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plain, skipped = make_run(), make_run()
    assert run_engine(plain) == 0
    original = ValidationProgress.text

    def text(self: ValidationProgress, seconds: float) -> str:
        if self._session.state.step in (8, 12):
            with atomic.appending(self._session.folder.control_file) as lines:
                id = f"skip-{self._session.state.step}"
                lines.append(Command(id=id, time=time.time(), command="skip-evaluation"))
        return original(self, seconds)

    monkeypatch.setattr(ValidationProgress, "text", text)
    assert run_engine(skipped) == 0
    rows = metrics(skipped)
    assert [step for kind, step in rows if kind == "eval"] == [4]
    answers = [event for event in skipped.events() if event.kind == "command"]
    assert [(event.id, event.message) for event in answers] == [
        (f"skip-{step}", f"evaluation at step {step} cancelled after 3 of 4 examples; "
         "training continues")
        for step in (8, 12)
    ]  # fmt: skip
    state = skipped.state()
    assert state is not None and (state.state, state.best_step) == ("completed", 4)
    expected = {key: row for key, row in metrics(plain).items() if key[0] == "train"}
    assert {key: row for key, row in rows.items() if key[0] == "train"} == expected


def test_without_an_evaluation_there_is_nothing_to_cancel(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    folder = make_run()
    at_step(2, "skip-evaluation")
    assert run_engine(folder) == 0
    (answer,) = [event for event in folder.events() if event.kind == "command"]
    assert (answer.detail["accepted"], answer.message) == (False, "no evaluation is running")
