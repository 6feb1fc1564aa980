"""Steering somebody else's loop, from this process and from another."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.watch.faults import deep_line
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import Command, Event
from tui_trainer.store import atomic
from tui_trainer.store.runs import run_control
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.writer import RunWriter

MakeRun = Callable[..., RunWriter]
LOOP = """
import sys, time
from tui_trainer.writer import RunWriter
with RunWriter(sys.argv[1], name="loop", total_steps=100000) as run:
    {listen}
    print(run.path, flush=True)
    for step in range(1, 100001):
        time.sleep(0.005)
        run.log(step, loss=1.0 / step)
        {check}
"""


def folder_of(run: RunWriter) -> RunFolder:
    """The run's folder, which must be there."""
    assert run.path is not None
    return RunFolder(run.path)


def answers(folder: RunFolder) -> list[tuple[str | None, bool, str]]:
    """Every answer to a command: id, whether it was accepted, its message."""
    events = [event for event in folder.events() if event.kind == "command"]
    return [(event.id, event.detail["accepted"], event.message) for event in events]


def test_a_loop_without_commands_is_read_only(make_run: MakeRun) -> None:
    run = make_run()
    run.log(1, loss=1.0)
    folder = folder_of(run)
    with pytest.raises(UserError, match="accepts none"):
        run_control.send(folder, "pause")
    reader = RunReader(RunLocation(folder.path, "run", "mine", "mine"))
    reader.read()
    assert not reader.view().commandable
    # One that is sent all the same is refused with the reason.
    with atomic.appending(folder.control_file) as lines:
        lines.append(Command(id="late", time=time.time(), command="set-lr"))
    run.log(2, loss=1.0)
    reason = "this training loop cannot change its learning rate on command"
    assert answers(folder) == [("late", False, reason)]


def test_functions_execute_commands(make_run: MakeRun) -> None:
    done: list[object] = []
    run = make_run()
    run.control(on_checkpoint=lambda: done.append("saved"), on_learning_rate=done.append)
    run.log(1, loss=1.0)
    folder = folder_of(run)
    first = run_control.send(folder, "checkpoint")
    second = run_control.send(folder, "set-lr", {"learning_rate": 1e-4})
    with pytest.raises(UserError, match="only accepts pause, resume, checkpoint, set-lr"):
        run_control.send(folder, "stop")
    assert done == []
    run.log(2, loss=1.0)
    assert done == ["saved", 1e-4]
    assert answers(folder) == [
        (first.id, True, "checkpoint saved at step 2"),
        (second.id, True, "learning rate 1e-4 from step 3 on"),
    ]
    marks = [event for event in folder.events() if event.kind == "learning_rate"]
    assert [(mark.step, mark.detail["learning_rate"]) for mark in marks] == [(2, 1e-4)]


def test_a_function_that_raises_refuses_the_command(make_run: MakeRun) -> None:
    def save() -> None:
        raise OSError("disk full")

    run = make_run()
    run.control(on_checkpoint=save)
    run.log(1, loss=1.0)
    command = run_control.send(folder_of(run), "checkpoint")
    run.log(2, loss=1.0)
    assert answers(folder_of(run)) == [(command.id, False, "checkpoint failed: OSError: disk full")]
    assert run.active


@pytest.mark.parametrize("rate", [0, -1.0, "fast", None, True, float("inf")])
def test_an_invalid_rate_never_reaches_the_loop(make_run: MakeRun, rate: object) -> None:
    rates: list[float] = []
    run = make_run()
    run.control(on_learning_rate=rates.append)
    run_control.send(folder_of(run), "set-lr", {"learning_rate": rate})
    run.log(1, loss=1.0)
    assert rates == []
    assert [accepted for _, accepted, _ in answers(folder_of(run))] == [False]


def test_reading_stopping_makes_the_run_accept_stop_and_cancel(make_run: MakeRun) -> None:
    saved: list[int] = []
    run = make_run(total_steps=50)
    run.control(on_checkpoint=lambda: saved.append(1))
    assert run.stopping is None
    run.log(1, loss=1.0)
    run_control.send(folder_of(run), "stop")
    run.log(2, loss=1.0)
    assert run.stopping == "stop"
    assert saved == [1]
    run.finish()
    state = folder_of(run).state()
    assert state is not None
    assert (state.state, state.message) == ("cancelled", "stopped at step 2 and saved")


def test_a_pause_blocks_in_log_and_is_not_training_time(make_run: MakeRun) -> None:
    run = make_run(total_steps=10)
    run.control()
    run.log(1, loss=1.0)
    folder = folder_of(run)
    run_control.send(folder, "pause")
    seen: list[str] = []

    def watch() -> None:
        while folder.status() != "paused":
            time.sleep(0.005)
        time.sleep(0.1)
        seen.append(folder.status())
        run_control.send(folder, "resume")

    watcher = threading.Thread(target=watch)
    watcher.start()
    run.log(2, loss=1.0)
    watcher.join()
    run.log(3, loss=1.0)
    assert seen == ["paused"]
    assert folder.status() == "training"
    times = [line for line in folder.metrics_file.read_text().splitlines() if '"step":3' in line]
    assert float(times[0].split('"step_time_ms":')[1].rstrip("}")) < 90
    assert [accepted for _, accepted, _ in answers(folder)] == [True, True]


def test_a_loop_executes_commands_itself(make_run: MakeRun) -> None:
    run = make_run()
    assert list(run.commands("checkpoint", "cancel")) == []
    folder = folder_of(run)
    run.log(1, loss=1.0)
    run_control.send(folder, "checkpoint")
    run_control.send(folder, "checkpoint")
    run_control.send(folder, "cancel")
    run.log(2, loss=1.0)
    assert answers(folder) == []
    for number, command in enumerate(run.commands("checkpoint", "cancel")):
        if number == 0:
            command.done("saved as last.pt")
        elif command.name == "cancel":
            command.done()
    assert [(accepted, reason) for _, accepted, reason in answers(folder)] == [
        (True, "saved as last.pt"),
        (False, "the training loop did not execute checkpoint"),
        (True, "cancelled at step 2"),
    ]
    assert run.stopping == "cancel"


def test_commands_after_the_end_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    run.control()
    run.log(1, loss=1.0)
    command = run_control.send(folder_of(run), "pause")
    run.finish()
    assert answers(folder_of(run)) == [(command.id, False, "the training has ended")]


def start(tmp_path: Path, listen: str, check: str) -> tuple[subprocess.Popen[str], RunFolder]:
    script = LOOP.format(listen=listen, check=check)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "runs")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, RunFolder(Path(process.stdout.readline().strip()))


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another process does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def ask(folder: RunFolder, command: str) -> Event:
    event = run_control.wait(folder, run_control.send(folder, command), 30)  # type: ignore[arg-type]
    assert event is not None
    return event


def test_another_process_is_paused_resumed_and_stopped(tmp_path: Path) -> None:
    process, folder = start(
        tmp_path, "run.control(on_checkpoint=lambda: 'saved it')", "if run.stopping: break"
    )
    try:
        until(lambda: folder.status() == "training")
        assert ask(folder, "pause").message.startswith("paused at step")
        assert folder.status() == "paused"
        assert ask(folder, "checkpoint").message == "saved it"
        assert ask(folder, "resume").message.startswith("resumed after step")
        assert ask(folder, "stop").message == "saved it"
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
    assert folder.status() == "cancelled"


def test_a_killed_loop_is_shown_as_crashed_and_its_rows_are_whole(tmp_path: Path) -> None:
    process, folder = start(tmp_path, "", "")
    try:
        until(lambda: folder.metrics_file.exists() and folder.metrics_file.stat().st_size > 500)
        assert folder.status() == "training"
    finally:
        process.kill()
        process.communicate()
    assert folder.status() == "crashed"
    lines = folder.metrics_file.read_bytes()
    assert lines.endswith(b"\n")
    assert lines.count(b'"kind":"train"') == lines.count(b"\n") > 5


END = """
import sys, os
from tui_trainer.writer import RunWriter
run = RunWriter(sys.argv[1], name="loop", total_steps=5)
print(run.path, flush=True)
for step in range(1, 4):
    run.log(step, loss=1.0)
{end}
"""


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        ("raise ValueError('no such batch')", "failed", "ValueError: no such batch"),
        ("", "cancelled", "at step 3 of 5 without finish()"),
        ("run.log(5, loss=1.0)", "completed", "completed 5 steps"),
        ("if os.fork() == 0: sys.exit(0)\nos.wait(); run.log(5, loss=0.5)", "completed", ""),
    ],
)
def test_how_a_program_ends_is_recorded(tmp_path: Path, end: str, status: str, reason: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", END.format(end=end), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    folder = RunFolder(Path(done.stdout.splitlines()[0]))
    state = folder.state()
    assert state is not None
    assert state.state == status
    assert reason in state.message


def test_neither_torch_nor_textual_is_imported() -> None:
    heavy = ("torch", "textual", "numpy", "transformers", "lightning", "tui_trainer.engine")
    script = (
        "import sys, tui_trainer.writer; "
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""


def test_lines_that_are_not_commands_are_reported(make_run: MakeRun) -> None:
    run = make_run()
    run.log(1, loss=1.0)
    folder = folder_of(run)
    with folder.control_file.open("ab") as file:
        file.write(deep_line() + b'{"id": "mine", "time": 1, "command": "fly"}\n')
    run.log(2, loss=1.0)
    run.finish()
    assert [e.message.split(":")[0] for e in folder.events() if e.kind == "warning"] == [
        "control.jsonl line 1 is not a command"
    ]
    assert [(id, accepted) for id, accepted, _ in answers(folder)] == [("mine", False)]
