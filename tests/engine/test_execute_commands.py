"""Commands to a running engine, through the run folder."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.watch.faults import deep_line
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import CommandName, Event
from tui_trainer.store.runs import checkpoints, run_control
from tui_trainer.store.runs.run_folder import RunFolder

Start = Callable[..., subprocess.Popen[bytes]]
Wait = Callable[..., None]


def ask(folder: RunFolder, command: CommandName, **arguments: Any) -> Event:
    event = run_control.wait(folder, run_control.send(folder, command, arguments), timeout=120)
    assert event is not None, f"{command} was not acknowledged"
    return event


def state_of(folder: RunFolder) -> str:
    state = folder.state()
    return state.state if state else ""


@pytest.mark.slow
def test_a_session_of_commands(
    make_run: Callable[..., RunFolder], start_engine: Start, wait_for: Wait
) -> None:
    folder = make_run(training={"max_steps": 5000, "eval_every": 0, "checkpoint_every": 0})
    engine = start_engine(folder)
    wait_for(lambda: state_of(folder) == "training")

    paused = ask(folder, "pause")
    assert state_of(folder) == "paused"
    rows = folder.metrics_file.read_bytes().count(b"\n")
    elapsed = folder.state().elapsed_seconds  # type: ignore[union-attr]
    time.sleep(1.2)
    state = folder.state()
    assert state is not None
    assert folder.metrics_file.read_bytes().count(b"\n") == rows == paused.step == state.step
    assert time.time() - state.updated_at < 1.2, "a paused run shows that it lives"
    assert state.elapsed_seconds == pytest.approx(elapsed, abs=0.01)
    assert "already paused" in ask(folder, "pause").message

    saved = ask(folder, "checkpoint")
    assert [step for step, _ in checkpoints.list_checkpoints(folder)] == [saved.step]
    assert state_of(folder) == "paused"

    rate = ask(folder, "set-lr", learning_rate=3e-4)
    assert rate.detail["accepted"]
    refused = ask(folder, "set-lr", learning_rate=-1)
    assert not refused.detail["accepted"]
    assert "-1" in refused.message

    assert ask(folder, "resume").step == paused.step
    wait_for(lambda: folder.metrics_file.read_bytes().count(b"\n") > rows)
    next_row = folder.metrics_file.read_text().splitlines()[rows]
    assert '"learning_rate":0.0003' in next_row

    stopped = ask(folder, "stop")
    assert engine.wait() == 0
    assert state_of(folder) == "cancelled"
    assert checkpoints.list_checkpoints(folder)[-1][0] == stopped.step
    with pytest.raises(UserError, match="accepts no commands; resume it with: tui-trainer resume"):
        run_control.send(folder, "pause")


@pytest.mark.slow
def test_cancel_saves_nothing(
    make_run: Callable[..., RunFolder], start_engine: Start, wait_for: Wait
) -> None:
    folder = make_run(training={"max_steps": 5000, "eval_every": 0, "checkpoint_every": 0})
    engine = start_engine(folder)
    wait_for(lambda: state_of(folder) == "training")
    ask(folder, "cancel")
    assert engine.wait() == 130
    assert state_of(folder) == "cancelled"
    assert checkpoints.list_checkpoints(folder) == []
    assert not folder.adapter_dir.exists()


@pytest.mark.slow
def test_a_termination_signal_saves_and_a_hangup_is_ignored(
    make_run: Callable[..., RunFolder], start_engine: Start, wait_for: Wait
) -> None:
    folder = make_run(training={"max_steps": 5000, "eval_every": 0, "checkpoint_every": 0})
    engine = start_engine(folder)
    wait_for(lambda: state_of(folder) == "training")
    engine.send_signal(signal.SIGHUP)
    rows = folder.metrics_file.read_bytes().count(b"\n")
    wait_for(lambda: folder.metrics_file.read_bytes().count(b"\n") > rows + 3)
    engine.send_signal(signal.SIGTERM)
    assert engine.wait() == 0
    state = folder.state()
    assert state is not None
    assert checkpoints.list_checkpoints(folder)[-1][0] == state.step


def test_commands_to_an_ended_engine_do_not_stop_the_next_one(
    make_run: Callable[..., RunFolder],
    start_engine: Start,
    run_engine: Callable[..., int],
    wait_for: Wait,
) -> None:
    folder = make_run()
    engine = start_engine(folder)
    wait_for(lambda: state_of(folder) == "preparing")
    command = run_control.send(folder, "stop")
    engine.kill()
    engine.wait()
    assert run_control.wait(folder, command, timeout=0.05) is None
    assert run_engine(folder) == 0
    state = folder.state()
    assert state is not None
    assert state.state == "completed"
    answer = run_control.wait(folder, command, timeout=1)
    assert answer is not None
    assert answer.detail == {"command": "stop", "accepted": False}


@pytest.mark.slow
def test_a_stop_while_loading_prevents_the_first_step(
    make_run: Callable[..., RunFolder], start_engine: Start, wait_for: Wait
) -> None:
    folder = make_run()
    engine = start_engine(folder)
    wait_for(lambda: state_of(folder) == "preparing")
    assert ask(folder, "stop").detail["accepted"]
    assert engine.wait() == 130
    assert state_of(folder) == "cancelled"
    assert not folder.metrics_file.read_bytes()


@pytest.mark.slow
def test_lines_that_are_not_commands_are_reported_and_training_continues(
    make_run: Callable[..., RunFolder], start_engine: Start, wait_for: Wait
) -> None:
    folder = make_run(training={"max_steps": 5000, "eval_every": 0, "checkpoint_every": 0})
    engine = start_engine(folder)
    wait_for(lambda: state_of(folder) == "training")
    with folder.control_file.open("ab") as file:
        file.write(deep_line(command="pause"))
        file.write(b'{"id": "\xff"}\n')
        file.write(b'{"id": "mine", "time": 1, "command": "fly"}\n')

    def warnings() -> list[str]:
        return [event.message for event in folder.events() if event.kind == "warning"]

    wait_for(lambda: len(warnings()) == 2)
    assert "line 1 is not a command" in warnings()[0]
    wait_for(lambda: any(event.id == "mine" for event in folder.events()))
    (refused,) = [event for event in folder.events() if event.id == "mine"]
    assert refused.detail["accepted"] is False
    for command, arguments in (
        ("set-lr", {"learning_rate": "high"}),
        ("set-lr", {"learning_rate": True}),
        ("apply", {"advice": [1]}),
        ("rollback", {"advice": {"x": 1}}),
        ("mute", {"kind": ["plateau"]}),
    ):
        answer = ask(folder, command, **arguments)  # type: ignore[arg-type]
        assert answer.detail["accepted"] is False
    assert ask(folder, "pause").detail["accepted"]
    ask(folder, "stop")
    assert engine.wait() == 0
