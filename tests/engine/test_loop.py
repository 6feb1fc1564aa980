"""Commands that arrive in the step after which a run ends: executed or refused, never dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.conftest import At, rollbacks, rows_that_stand
from tui_trainer.contracts.runs.run import Command, CommandName, Event
from tui_trainer.engine import loop
from tui_trainer.engine.state.session import RollbackPoint
from tui_trainer.engine.validation import evaluate as evaluation
from tui_trainer.store import atomic
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
Engine = Callable[..., int]
During = Callable[..., None]

TRAINING: dict[str, Any] = {
    "max_steps": 80,
    "batch_size": 3,
    "learning_rate": 2e-3,
    "scheduler": "linear",
    "eval_every": 0,
    "checkpoint_every": 20,
    "keep_checkpoints": 9,
}
# The second evaluation, after step 52, is the first without enough improvement.
STOPS_AT_52 = {"eval_every": 26, "early_stopping_patience": 1, "early_stopping_min_delta": 50.0}


@pytest.fixture
def during(monkeypatch: pytest.MonkeyPatch) -> During:
    """Send commands while the step after so many finished ones is trained, once."""
    plans: dict[int, list[tuple[CommandName, dict[str, Any]]]] = {}
    original = loop.step

    def step(session: Any) -> Any:
        for command, arguments in plans.pop(session.state.step + 1, ()):
            with atomic.appending(session.folder.control_file) as lines:
                id = f"{command}-{time.monotonic()}"
                lines.append(Command(id=id, time=time.time(), command=command, arguments=arguments))
        return original(session)

    def plan(step: int, command: CommandName, **arguments: Any) -> None:
        plans.setdefault(step, []).append((command, arguments))

    monkeypatch.setattr(loop, "step", step)
    return plan


def answers(folder: RunFolder) -> list[tuple[str, bool, str]]:
    """Command, whether it was accepted, and the message of each acknowledgement."""

    def shown(event: Event) -> tuple[str, bool, str]:
        return event.detail["command"], event.detail["accepted"], event.message

    return [shown(event) for event in folder.events() if event.kind == "command"]


def ask_for_a_rollback(at_step: At) -> None:
    """To before step 41, from which on the rate is too high."""
    at_step(40, "set-lr", learning_rate=0.6)
    at_step(52, "rollback")


@pytest.mark.slow
def test_a_rollback_requested_in_the_step_of_an_early_stop_is_made(
    make_run: MakeRun, run_engine: Engine, at_step: At, during: During
) -> None:
    folder = make_run(training={**TRAINING, **STOPS_AT_52})
    at_step(40, "set-lr", learning_rate=0.6)
    during(52, "rollback")
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert (event.step, event.detail["from_step"], event.detail["by"]) == (40, 52, "user")
    assert [answer[:2] for answer in answers(folder)] == [("set-lr", True), ("rollback", True)]
    state = folder.state()
    assert state is not None
    assert (state.state, state.step) == ("early_stopped", 52), "the same steps were trained again"
    stops = [e for e in folder.events() if e.message.endswith("stopping early")]
    assert [event.step for event in stops] == [52]
    good = make_run(training={**TRAINING, **STOPS_AT_52})
    assert run_engine(good) == 0
    assert rows_that_stand(folder) == rows_that_stand(good)


def test_an_automatic_rollback_goes_before_an_early_stop(
    make_run: MakeRun, run_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it was requested: here while the run is evaluated."""
    folder = make_run(training={**TRAINING, **STOPS_AT_52})
    requested: list[int] = []

    def evaluate(session: Any) -> bool:
        improved = evaluation.evaluate(session)
        if session.state.step == 52 and not requested:
            requested.append(52)
            session.pending_rollback = RollbackPoint(
                checkpoint=folder.checkpoints_dir / "step-00000040",
                reason="divergence",
                rate=None,
                at_step=40,
                ramp=1,
                raises=False,
                good=40,
                until=None,
                detail={"by": "auto"},
            )
        return improved

    monkeypatch.setattr(loop, "evaluate", evaluate)
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert (event.step, event.detail["from_step"]) == (40, 52)
    assert folder.status() == "early_stopped"


@pytest.mark.slow
def test_a_rollback_requested_in_the_last_step_is_made(
    make_run: MakeRun, run_engine: Engine, at_step: At, during: During
) -> None:
    folder = make_run(training=TRAINING)
    at_step(68, "set-lr", learning_rate=0.6)
    during(80, "rollback")
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert event.detail["from_step"] == 80
    assert folder.status() == "completed"
    good = make_run(training=TRAINING)
    assert run_engine(good) == 0
    assert rows_that_stand(folder) == rows_that_stand(good)


@pytest.mark.parametrize("settings", [STOPS_AT_52, {"max_steps": 52}], ids=["early", "last step"])
def test_other_commands_that_come_too_late_are_refused(
    make_run: MakeRun, run_engine: Engine, during: During, settings: dict[str, Any]
) -> None:
    folder = make_run(training={**TRAINING, **settings})
    during(52, "set-lr", learning_rate=0.1)
    during(52, "pause")
    assert run_engine(folder) == 0
    late = "not executed: training has ended at step 52"
    assert answers(folder) == [("set-lr", False, late), ("pause", False, late)]
    state = folder.state()
    assert state is not None and state.state in ("early_stopped", "completed")


@pytest.mark.slow
def test_a_stop_after_a_rollback_makes_it_and_refuses_what_follows(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    folder = make_run(training=TRAINING)
    ask_for_a_rollback(at_step)
    at_step(52, "stop")
    at_step(52, "set-lr", learning_rate=0.1)
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert (event.step, event.detail["from_step"]) == (40, 52)
    assert [answer[:2] for answer in answers(folder)[1:]] == [
        ("rollback", True),
        ("stop", True),
        ("set-lr", False),
    ]
    assert answers(folder)[-2][2] == "saved at step 40; stopping"
    assert run_engine(folder) == 0
    good = make_run(training=TRAINING)
    assert run_engine(good) == 0
    assert rows_that_stand(folder) == rows_that_stand(good)


def test_a_cancel_after_a_rollback_says_that_it_is_not_made(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    folder = make_run(training=TRAINING)
    ask_for_a_rollback(at_step)
    at_step(52, "cancel")
    assert run_engine(folder) == 130
    assert not rollbacks(folder)
    assert answers(folder)[-1][2] == (
        "cancelled at step 52; it was not rolled back to step-00000040 any more"
    )
