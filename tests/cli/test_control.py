"""`control` against a run that answers, refuses, is silent or dies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tui_trainer.cli import main
from tui_trainer.contracts.runs.run import Command, Event, RunState, StateName
from tui_trainer.store import atomic
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder

Capture = pytest.CaptureFixture[str]
Answer = Callable[[Command], None]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.info_file.write_text("{}")
    set_state(run, "training")
    return run


def set_state(folder: RunFolder, state: StateName, *, pid_created: float | None = None) -> None:
    me = psutil.Process()
    created = me.create_time() if pid_created is None else pid_created
    run_folder.write_state(folder, RunState(state=state, step=12, pid=me.pid, pid_created=created))


@pytest.fixture
def answering(folder: RunFolder) -> Iterator[Callable[[Answer], None]]:
    """Starts a thread that hands every command of the run to a function."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def start(answer: Answer) -> None:
        def serve() -> None:
            seen = 0
            while not over.wait(0.01):
                commands = folder.commands()
                for command in commands[seen:]:
                    answer(command)
                seen = len(commands)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()

    yield start
    over.set()
    for thread in threads:
        thread.join()


def acknowledge(
    folder: RunFolder, command: Command, message: str, *, accepted: bool = True
) -> None:
    detail = {"command": command.command, "accepted": accepted}
    event = Event(
        time=time.time(), step=12, kind="command", id=command.id, message=message, detail=detail
    )
    with atomic.appending(folder.events_file) as lines:
        lines.append(Event(time=0.0, step=11, kind="command", id="of another", message="no"))
        lines.append(event)


def test_an_acknowledgement_is_printed(
    folder: RunFolder, answering: Callable[[Answer], None], capsys: Capture
) -> None:
    answering(lambda command: acknowledge(folder, command, "paused at step 12"))
    assert main.main(["control", str(folder.path), "pause"]) == 0
    assert capsys.readouterr().out == "pause: paused at step 12\n"
    assert [command.command for command in folder.commands()] == ["pause"]


def test_set_lr_sends_the_rate_and_json_is_one_document(
    folder: RunFolder, answering: Callable[[Answer], None], capsys: Capture
) -> None:
    answering(lambda command: acknowledge(folder, command, f"{command.arguments}"))
    assert main.main(["control", str(folder.path), "set-lr", "5e-5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["message"] == "{'learning_rate': 5e-05}"
    assert document["detail"] == {"command": "set-lr", "accepted": True}


@pytest.mark.parametrize("as_json", [False, True])
def test_a_rate_of_more_than_ten_times_the_present_one_is_set_with_a_warning(
    folder: RunFolder, answering: Callable[[Answer], None], capsys: Capture, as_json: bool
) -> None:
    folder.metrics_file.write_text('{"kind":"train","step":1,"learning_rate":0.0002}\n')
    answering(lambda command: acknowledge(folder, command, "done"))
    options = ["--json"] if as_json else []
    assert main.main(["control", str(folder.path), "set-lr", "0.05", *options]) == 0
    printed = capsys.readouterr()
    assert printed.err == "warning: 0.05 is 250 times the current rate, 2e-4\n"
    assert (
        json.loads(printed.out)["message"] == "done" if as_json else "set-lr: done" in printed.out
    )
    assert folder.commands()[-1].arguments == {"learning_rate": 0.05}
    assert main.main(["control", str(folder.path), "set-lr", "0.002"]) == 0
    assert capsys.readouterr().err == ""


def test_a_refusal_is_one_sentence_and_status_1(
    folder: RunFolder, answering: Callable[[Answer], None], capsys: Capture
) -> None:
    answering(lambda command: acknowledge(folder, command, "too\x1b[1m high", accepted=False))
    assert main.main(["control", str(folder.path), "set-lr", "9"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: run run refused set-lr: too\\x1b[1m high\n"


def test_an_unacknowledged_command_is_an_error_after_the_timeout(
    folder: RunFolder, capsys: Capture
) -> None:
    assert main.main(["control", str(folder.path), "checkpoint", "--timeout", "0.1"]) == 1
    assert "has not acknowledged checkpoint within 0.1 s" in capsys.readouterr().err


def test_a_run_that_ends_meanwhile_is_not_waited_for(
    folder: RunFolder, answering: Callable[[Answer], None], capsys: Capture
) -> None:
    answering(lambda command: set_state(folder, "failed"))
    assert main.main(["control", str(folder.path), "stop", "--timeout", "600"]) == 1
    assert capsys.readouterr().err == "error: run run is failed and did not acknowledge stop\n"


def test_a_crashed_run_takes_no_commands(folder: RunFolder, capsys: Capture) -> None:
    set_state(folder, "training", pid_created=1.0)
    assert main.main(["control", str(folder.path), "pause"]) == 1
    text = capsys.readouterr().err
    assert "crashed and accepts no commands" in text and text.count("\n") == 1
    assert folder.commands() == []
