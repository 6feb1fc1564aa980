"""Processes are known by their start since the boot, whatever the clock is set to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import Any

import msgspec
import psutil
import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.launch.engine_process import check_startable
from tui_trainer.store.runs import process_identity, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

linux = pytest.mark.skipif(process_identity.boot_id() is None, reason="needs Linux's /proc")


def own(**changes: Any) -> RunState:
    state = RunState(state="training", host=socket.gethostname(), updated_at=time.time())
    return msgspec.structs.replace(state, **{**process_identity.own_identity(), **changes})


@pytest.fixture(params=[-86_400.0, -3_600.0, 3_600.0, 10 * 365 * 86_400.0])
def stepped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """The clock is set by so many seconds after the run began: with it the boot time that the
    kernel tells, and with that every start time by the wall clock."""
    step: float = request.param
    real, create_time = time.time, psutil.Process.create_time
    monkeypatch.setattr(time, "time", lambda: real() + step)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + step)
    return step


@linux
def test_a_step_of_the_clock_does_not_make_a_live_run_crashed(stepped: float) -> None:
    state = own(updated_at=time.time() - stepped)
    state = msgspec.structs.replace(state, pid_created=(state.pid_created or 0.0) - stepped)
    assert run_folder.status_of(state) == "training"
    # A folder of before has the wall clock only, which is deceived.
    assert run_folder.status_of(msgspec.structs.replace(state, start_ticks=None)) == "crashed"


@linux
def test_resume_refuses_a_live_run_after_a_step_and_leaves_its_state(
    stepped: float, tmp_path: Any
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    state = own()
    run_folder.write_state(folder, msgspec.structs.replace(state, pid_created=1.0))
    before = folder.state_file.read_bytes()
    with pytest.raises(UserError, match="is already training"):
        check_startable(folder)
    assert folder.state_file.read_bytes() == before


@linux
def test_a_recycled_pid_and_another_boot_are_not_the_run() -> None:
    ticks = own().start_ticks
    assert ticks is not None
    assert run_folder.status_of(own(start_ticks=ticks + 1)) == "crashed"
    assert run_folder.status_of(own(boot_id="another boot")) == "crashed"


@linux
def test_a_run_of_another_container_is_not_called_crashed() -> None:
    elsewhere = {"pid_namespace": "pid:[1]", "pid": 4_000_000}
    assert run_folder.status_of(own(**elsewhere)) == "training"
    assert run_folder.status_of(own(**elsewhere, updated_at=time.time() - 999)) == "stale"
    assert run_folder.status_of(own(**elsewhere, boot_id="another boot")) == "crashed"


def test_a_child_is_alive_until_it_has_ended() -> None:
    code = "from tui_trainer.store.runs import process_identity as p; import msgspec, sys;"
    code += "sys.stdout.buffer.write(msgspec.json.encode(p.own_identity()) + b'\\n');"
    code += "sys.stdout.flush(); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdin is not None
    try:
        identity = msgspec.json.decode(child.stdout.readline())
        state = RunState(state="training", **identity)
        assert state.pid == child.pid
        assert process_identity.is_alive(state)
        child.stdin.close()
        deadline = time.monotonic() + 20
        while process_identity.is_alive(state):  # a zombie is gone, though it was not waited for
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_older_folders_are_still_read() -> None:
    old = RunState(state="training", pid=os.getpid(), pid_created=psutil.Process().create_time())
    assert run_folder.status_of(old) == "training"
    assert run_folder.status_of(msgspec.structs.replace(old, pid_created=1.0)) == "crashed"
