"""`train` and `resume` without a screen: real processes, a small script as the engine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tui_trainer.contracts.runs.run import Command, RunState
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

PATIENCE = 60.0

ENGINE = """
import os, sys, time
from pathlib import Path
import psutil
from tui_trainer.contracts.runs.metrics import TrainRecord
from tui_trainer.contracts.runs.run import Event, RunState
from tui_trainer.store import atomic
from tui_trainer.store.runs.run_folder import RunFolder, write_state

folder = RunFolder(Path(sys.argv[1]))
metrics = atomic.LineAppender(folder.metrics_file)
events = atomic.LineAppender(folder.events_file)

def say(word, step=0, message=""):
    pid = os.getpid()
    write_state(folder, RunState(state=word, step=step, total_steps=40, pid=pid,
        message=message, pid_created=psutil.Process(pid).create_time(), updated_at=time.time(),
        eta_seconds=90.0, tokens_per_second=18402.0))

def row(step):
    metrics.append(TrainRecord(step=step, epoch=0.1, loss=1.25, learning_rate=1.6e-4,
        gradient_norm=1.0, step_time_ms=5.0, tokens=9, examples=1, time=time.time()))

def event(kind, message):
    events.append(Event(time=time.time(), step=1, kind=kind, message=message))

def wait_for(command):
    while command not in [c.command for c in folder.commands()]:
        time.sleep(0.01)

say("training")
"""

# The command line as it is, but with a script for an engine and little patience.
DRIVER = """
import signal, sys
from tui_trainer.cli import headless
from tui_trainer.cli.main import main
from tui_trainer.launch import engine_process

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
signal.signal(signal.SIGINT, signal.default_int_handler)
headless.KILL_SECONDS = 0.2
engine = sys.argv[1]
engine_process.NEEDED = ()  # by the script below
engine_process.engine_command = lambda: [sys.executable, "-c", engine]
sys.exit(main(sys.argv[2:]))
"""


class Shell:
    """Starts the command line over a fresh folder of runs, in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str]
        (folder / "data.jsonl").write_text('{"question": "a", "answer": "b"}\n')
        (folder / "job.toml").write_text('[data]\ntrain = "data.jsonl"\n')

    def train(self, engine: str, *options: str) -> subprocess.Popen[str]:
        return self.start(engine, "train", "job.toml", "--headless", *options)

    def start(self, engine: str, *arguments: str) -> subprocess.Popen[str]:
        body = ENGINE + textwrap.dedent(engine)
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, body, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self.process

    def run(self) -> RunFolder:
        """The run, once its engine is at work."""
        wait_until(lambda: any(f.status() == "training" for f in self.runs()))
        return self.runs()[0]

    def runs(self) -> list[RunFolder]:
        return run_folder.list_runs(self.folder / "runs")

    def ends(self) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def engine_pid(self) -> int:
        state = self.run().state()
        assert state is not None and state.pid is not None
        return state.pid


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def commands(folder: RunFolder) -> list[str]:
    return [command.command for command in folder.commands()]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    for folder in shell.runs():
        state = folder.state()
        if state is not None and state.pid is not None and folder.status() == state.state:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                os.kill(state.pid, signal.SIGKILL)


COMPLETES = """
row(1); row(2)
event("checkpoint", "checkpoint step-00000002 saved")
event("warning", "short\\x1b[2J rows")
say("completed", 2, "completed 2 steps; the adapter is in runs/x/adapter")
"""


def test_progress_events_and_the_end_go_to_standard_error(shell: Shell) -> None:
    shell.train(COMPLETES)
    status, out, err = shell.ends()
    lines = err.splitlines()
    assert (status, out) == (0, "")
    assert lines[0] == f"run runs/{shell.runs()[0].path.name}"
    assert any(line[9:] == "checkpoint step-00000002 saved" for line in lines)
    assert any(line[9:] == "warning: short\\x1b[2J rows" for line in lines)
    assert "step 2 / 40  1:30 remaining  loss 1.250  lr 1.6e-4  18,402 tok/s" in lines
    assert lines[-1] == "completed 2 steps; the adapter is in runs/x/adapter"


def test_json_lines_are_the_records_and_an_end(shell: Shell) -> None:
    shell.train(COMPLETES, "--json")
    status, out, err = shell.ends()
    records = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert [r["kind"] for r in records] == ["train", "train", "checkpoint", "warning", "end"]
    assert records[0]["loss"] == 1.25
    assert records[-1]["state"] == "completed"
    assert records[-1]["path"] == f"runs/{shell.runs()[0].path.name}"


@pytest.mark.parametrize(("own", "seen"), [(1, 1), (2, 2), (7, 1)])
def test_a_failure_ends_with_its_message_and_last_lines(shell: Shell, own: int, seen: int) -> None:
    shell.train(f"print('the cause'); say('failed', 3, 'loss is not finite'); sys.exit({own})")
    status, _, err = shell.ends()
    assert status == seen
    reported = ["failed: loss is not finite", "  | the cause"]
    # Bad input (2) is told whole by its sentence.
    reported = reported[:1] if own == 2 else reported
    assert err.splitlines()[-len(reported) :] == reported


def test_a_killed_engine_is_reported_with_the_command_that_resumes(shell: Shell) -> None:
    shell.train("os.kill(os.getpid(), 9)")
    status, _, err = shell.ends()
    assert status == 1
    assert err.splitlines()[-2:] == [
        "crashed: the training process was killed by SIGKILL (out of memory?)",
        f"resume it with: tui-trainer resume runs/{shell.runs()[0].path.name}",
    ]


OBEDIENT = """
row(1)
wait_for("stop")
time.sleep(0.3)  # saving
say("cancelled", 1, "stopped at step 1 and saved; tui-trainer resume x carries on")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_interrupt_saves_and_stops(shell: Shell, number: signal.Signals) -> None:
    process = shell.train(OBEDIENT)
    folder = shell.run()
    os.killpg(process.pid, number)  # as a terminal does: the engine is in another session
    if number is signal.SIGTERM:
        wait_until(lambda: commands(folder) != [])
        process.send_signal(number)  # a second one asks for no more than the first
    status, _, err = shell.ends()
    assert status == 130
    assert commands(folder) == ["stop"]
    assert "stopping: the run is saved first; press Ctrl-C again to stop without saving" in err
    assert err.splitlines()[-1].startswith("cancelled: stopped at step 1 and saved")


def test_a_second_interrupt_cancels(shell: Shell) -> None:
    process = shell.train("wait_for('cancel'); say('cancelled', 1, 'at once'); sys.exit(130)")
    folder = shell.run()
    process.send_signal(signal.SIGINT)
    wait_until(lambda: commands(folder) == ["stop"])
    process.send_signal(signal.SIGINT)
    status, _, err = shell.ends()
    assert status == 130
    assert commands(folder) == ["stop", "cancel"]
    assert "cancelled: at once" in err


def test_an_interrupt_waits_for_an_engine_that_can_respond(shell: Shell) -> None:
    """Until it has spoken, an engine takes commands for those of its predecessor."""
    body = """
        write_state(folder, RunState(state="idle"))
        (folder.path / "here").touch()
        while not (folder.path / "go").exists():
            time.sleep(0.01)
        say("failed" if folder.commands() else "training")
        wait_for("stop")
        say("cancelled", 1, "saved")
    """
    process = shell.train(body)
    wait_until(lambda: any((f.path / "here").exists() for f in shell.runs()))
    folder = shell.runs()[0]
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    (folder.path / "go").touch()
    status, _, err = shell.ends()
    assert (status, commands(folder)) == (130, ["stop"])
    assert err.splitlines()[-1].startswith("resume it with: tui-trainer resume")


def test_an_engine_that_does_not_respond_is_killed_and_the_run_is_not_crashed(shell: Shell) -> None:
    process = shell.train("time.sleep(600)")
    folder = shell.run()
    process.send_signal(signal.SIGINT)
    wait_until(lambda: commands(folder) == ["stop"])
    process.send_signal(signal.SIGINT)
    status, _, err = shell.ends()
    assert status == 130
    assert folder.status() == "cancelled"
    assert "crashed" not in err


def test_a_stop_from_another_shell_is_a_good_end(shell: Shell) -> None:
    shell.train(OBEDIENT)
    folder = shell.run()
    order = Command(id="1", time=0.0, command="stop")
    with folder.control_file.open("ab") as file:
        file.write(f'{{"id":"{order.id}","time":0,"command":"stop"}}\n'.encode())
    assert shell.ends()[0] == 0


def test_the_engine_outlives_a_lost_terminal(shell: Shell) -> None:
    process = shell.train(OBEDIENT)
    pid = shell.engine_pid()
    process.send_signal(signal.SIGHUP)
    assert shell.ends()[0] == -signal.SIGHUP
    assert psutil.Process(pid).is_running()
    assert shell.runs()[0].status() == "training"


def test_the_engine_outlives_a_closed_pipe(shell: Shell) -> None:
    process = shell.train("row(1); time.sleep(0.5); row(2); wait_for('stop')", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read() if process.stderr else ""
    assert process.wait(PATIENCE) == 1
    folder = shell.runs()[0]
    assert err == f"the output was closed; run {folder.path.name} keeps running\n"
    assert folder.status() == "training"


def test_resume_shows_only_what_is_new(shell: Shell) -> None:
    shell.train("row(1); say('cancelled', 1, 'saved')")
    assert shell.ends()[0] == 0
    name = shell.runs()[0].path.name
    body = "row(2); say('completed', 2, f'completed {sys.argv[2:]}')"
    shell.start(body, "resume", name, "--json")
    status, out, _ = shell.ends()
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [r.get("step") for r in records] == [2, None]
    assert records[-1]["message"] == "completed []"


def test_a_run_that_trains_or_is_complete_is_not_resumed(shell: Shell) -> None:
    shell.train(OBEDIENT)
    name = shell.run().path.name
    training, first = shell.process, shell.runs()[0]
    shell.start("", "resume", name)
    status, _, err = shell.ends()
    assert (status, err.count("\n")) == (1, 1)
    assert "is already training; watch it with: tui-trainer monitor runs" in err
    training.send_signal(signal.SIGTERM)
    training.communicate(timeout=PATIENCE)
    run_folder.write_state(first, RunState(state="completed", step=40))
    shell.start("", "resume", name)
    status, _, err = shell.ends()
    assert (status, err.count("\n")) == (1, 1)
    assert "completed and has no steps left" in err
    shell.start("", "resume", name, "--from", "best")
    assert shell.ends()[2] == f"error: run {name} has no checkpoint 'best'; it has: none\n"


BROKEN = """
row(1)
events.append(Event(time=time.time(), step=5, kind="learning_rate", message="set",
    detail={"learning_rate": 50.0}))
events.append(Event(time=time.time(), step=7, kind="warning", message="not finite",
    detail={"nonfinite": ["loss"], "in_a_row": 3}))
say("failed", 7, "loss not finite at step 7")
sys.exit(1)
"""


@pytest.mark.slow
def test_a_rate_that_broke_the_run_is_not_set_again_unasked(shell: Shell) -> None:
    shell.train(BROKEN)
    assert shell.ends()[0] == 1
    name = shell.runs()[0].path.name
    body = "say('completed', 9, f'completed {sys.argv[2:]}')"
    shell.start(body, "resume", name, "--json")
    status, out, err = shell.ends()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "went wrong after its learning rate was set to 50 at step 5 (" in err
    assert f"{name} --from start (or keep the rate with --keep-rate)" in err
    assert shell.runs()[0].status() == "failed"

    for options, handed in (
        (["--from", "start"], "completed ['--from', 'start']"),
        (["--keep-rate"], "completed []"),
        (["--set", "training.learning_rate=1e-5"], "completed ['--learning-rate', '1e-05']"),
    ):
        run_folder.write_state(shell.runs()[0], RunState(state="failed", step=7))
        shell.start(body, "resume", name, "--json", *options)
        status, out, err = shell.ends()
        assert (status, err) == (0, "")
        assert json.loads(out.splitlines()[-1])["message"] == handed


def test_a_peak_of_more_than_ten_times_the_runs_own_is_warned_about(shell: Shell) -> None:
    shell.train("row(1); say('cancelled', 1, 'saved')")
    assert shell.ends()[0] == 0
    run = shell.runs()[0]
    info = run.info()
    assert info is not None
    peak = info.job.training.learning_rate
    shell.start("say('completed', 2)", "resume", run.path.name, "--json", "--set",
                f"training.learning_rate={100 * peak}")  # fmt: skip
    status, _, err = shell.ends()
    assert status == 0
    rates = [formats.rate(rate) for rate in (100 * peak, peak)]
    assert err == f"warning: {rates[0]} is 100 times the run's peak rate, {rates[1]}\n"
