"""The supervisor with small scripts in place of the engine."""

from __future__ import annotations

import os
import queue
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tui_trainer.contracts.runs.run import RunState
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.launch.supervisor import Supervisor
from tui_trainer.store.runs import checkpoints, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

PATIENCE = 30.0

PRELUDE = """
import os, sys, time, signal
from pathlib import Path
import psutil
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store.runs import run_folder

folder = run_folder.RunFolder(Path(sys.argv[1]))

def say(word, step=0, message=""):
    pid = os.getpid()
    run_folder.write_state(folder, RunState(state=word, step=step, pid=pid, message=message,
        pid_created=psutil.Process(pid).create_time(), updated_at=time.time()))
"""


def fake_engine(body: str) -> list[str]:
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(body)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run_folder.write_state(run, RunState(state="idle", updated_at=time.time()))
    return run


def run_to_end(folder: RunFolder, body: str, checkpoint: str | None = None) -> EngineEnd:
    ends: queue.Queue[EngineEnd] = queue.Queue()
    Supervisor(ends.put, command=fake_engine(body)).start(folder, checkpoint)
    return ends.get(timeout=PATIENCE)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def pid_of(folder: RunFolder) -> int:
    def known() -> bool:
        state = folder.state()
        return state is not None and state.pid is not None

    wait_until(known)
    state = folder.state()
    assert state is not None and state.pid is not None
    return state.pid


def test_a_completed_run_is_reported_with_its_own_message(folder: RunFolder) -> None:
    end = run_to_end(folder, "say('completed', 3, 'done in 3 steps')")
    assert end == EngineEnd(folder.path, "completed", "done in 3 steps", 0)


def test_the_checkpoint_reaches_the_command_line(folder: RunFolder) -> None:
    saved = folder.checkpoints_dir / "step-00000002"
    saved.mkdir(parents=True)
    checkpoints.seal(saved, 2)
    end = run_to_end(folder, "say('completed', 3, ' '.join(sys.argv[2:]))", "step-00000002")
    assert end.message == "--from step-00000002"


def test_sigkill_is_reported_with_the_last_lines(folder: RunFolder) -> None:
    end = run_to_end(
        folder,
        "say('training', 1234); print('about to need memory'); os.kill(os.getpid(), 9)",
    )
    assert end.status == "crashed"
    assert end.message == (
        "the training process was killed by SIGKILL (out of memory?) at step 1,234"
    )
    assert end.exit_status == -signal.SIGKILL
    assert end.log == ("about to need memory",)
    assert folder.status() == "crashed"


def test_an_engine_that_dies_on_import_marks_the_waiting_run_failed(folder: RunFolder) -> None:
    end = run_to_end(folder, "import no_such_package_anywhere")
    assert end.status == "failed"
    assert end.exit_status == 1
    assert "exit status 1" in end.message
    assert "no_such_package_anywhere" in end.log[-1]
    assert folder.status() == "failed"


def test_a_failed_run_is_reported_with_message_and_log(folder: RunFolder) -> None:
    end = run_to_end(folder, "print('trace'); say('failed', 7, 'loss is NaN'); sys.exit(1)")
    assert (end.status, end.message, end.exit_status) == ("failed", "loss is NaN", 1)
    assert end.log == ("trace",)


def test_the_former_state_of_a_resumed_run_is_not_its_end(folder: RunFolder) -> None:
    old = RunState(state="cancelled", step=9, message="stopped at step 9", updated_at=1.0)
    run_folder.write_state(folder, old)
    folder.log_file.write_text("words of the former session\n")
    end = run_to_end(folder, "sys.exit(3)")
    assert end.status == "cancelled" and end.refused
    assert folder.state() == old, "a session that never trained changes nothing"
    assert "at step 9" in end.message and "exit status 3" in end.message
    assert end.log == ()
    assert run_to_end(folder, "print('words of this one'); sys.exit(3)").log == (
        "words of this one",
    )


def test_no_zombie_is_left(folder: RunFolder) -> None:
    end = run_to_end(folder, "say('training', 1); os.kill(os.getpid(), 9)")
    assert end.status == "crashed"
    zombies = [
        child.pid
        for child in psutil.Process().children()
        if child.status() == psutil.STATUS_ZOMBIE and child.pid == pid_of(folder)
    ]
    assert zombies == []


def test_several_engines_end_each_with_its_own_status(tmp_path: Path) -> None:
    ends: queue.Queue[EngineEnd] = queue.Queue()
    body = "say('completed', 1, folder.path.name)"
    supervisor = Supervisor(ends.put, command=fake_engine(body))
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        supervisor.start(RunFolder(tmp_path / name))
    reported = {ends.get(timeout=PATIENCE).message for _ in range(3)}
    assert reported == {"one", "two", "three"}


def test_an_engine_outlives_its_supervisor_and_another_one_attaches(folder: RunFolder) -> None:
    body = """
        say('training', 1)
        while not (folder.path / 'go').exists():
            time.sleep(0.02)
        say('completed', 2, 'went on alone')
    """
    ends: queue.Queue[EngineEnd] = queue.Queue()
    first = Supervisor(ends.put, command=fake_engine(body))
    first.start(folder)
    pid = pid_of(folder)
    first.stop_watching()
    assert psutil.pid_exists(pid)
    later: queue.Queue[EngineEnd] = queue.Queue()
    Supervisor(later.put).attach(folder)
    (folder.path / "go").touch()
    end = later.get(timeout=PATIENCE)
    assert (end.status, end.message, end.exit_status) == ("completed", "went on alone", None)
    assert ends.empty()


def test_the_crash_of_an_attached_engine_is_reported(folder: RunFolder) -> None:
    starter = Supervisor(
        lambda end: None, command=fake_engine("say('training', 5); time.sleep(60)")
    )
    starter.start(folder)
    pid = pid_of(folder)
    ends: queue.Queue[EngineEnd] = queue.Queue()
    Supervisor(ends.put).attach(folder)
    os.kill(pid, signal.SIGKILL)
    end = ends.get(timeout=PATIENCE)
    assert end.status == "crashed"
    assert end.message.startswith("the training process ended unexpectedly at step 5")


def test_a_second_engine_is_refused_in_one_sentence(folder: RunFolder) -> None:
    me = psutil.Process()
    run_folder.write_state(
        folder,
        RunState(state="training", step=4, pid=me.pid, pid_created=me.create_time()),
    )
    end = run_to_end(folder, "say('completed')")
    assert end.status == "training" and end.refused
    assert end.message.startswith("run run is already training; watch it with: tui-trainer monitor")
    assert folder.status() == "training"


def test_an_engine_without_the_lock_does_not_mark_the_run_as_crashed(folder: RunFolder) -> None:
    body = """
        me = psutil.Process(int(folder.log_file.parent.joinpath('other').read_text()))
        run_folder.write_state(folder, RunState(state='training', step=4, pid=me.pid,
            pid_created=me.create_time(), updated_at=time.time()))
        sys.exit(1)  # the other one was first
    """
    (folder.path / "other").write_text(str(os.getpid()))
    end = run_to_end(folder, body)
    assert end.status == "training"
    assert end.message.endswith("another engine trains the run now")
    assert folder.status() == "training"
