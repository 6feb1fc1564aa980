"""Starting an engine: detached, logged, refused with a sentence."""

from __future__ import annotations

import importlib.util
import json
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.launch.engine_process import (
    check_installed,
    check_startable,
    engine_command,
    start_engine,
)
from tui_trainer.launch.exit_report import EngineStart, describe_end
from tui_trainer.store.runs import checkpoints, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

REPORT = """
import json, os, sys
print(json.dumps({
    "session": os.getsid(0) == os.getpid(),
    "stdin": os.path.samestat(os.fstat(0), os.stat(os.devnull)),
    "folder": sys.argv[1],
    "unbuffered": os.environ["PYTHONUNBUFFERED"],
    "tokenizers": os.environ["TOKENIZERS_PARALLELISM"],
}))
print("to stderr", file=sys.stderr)
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    return run


def test_the_process_is_detached_and_logs_privately(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.path.parent)
    relative = RunFolder(Path("run"))
    process = start_engine(relative, command=[sys.executable, "-c", REPORT])
    assert process.wait(30) == 0
    first, second = folder.log_file.read_text().splitlines()
    assert json.loads(first) == {
        "session": True,
        "stdin": True,
        "folder": str(folder.path),
        "unbuffered": "1",
        "tokenizers": "false",
    }
    assert second == "to stderr"
    assert stat.S_IMODE(folder.log_file.stat().st_mode) == 0o600


def test_the_log_is_appended_to(folder: RunFolder) -> None:
    for word in ("one", "two"):
        command = [sys.executable, "-c", f"print({word!r})"]
        assert start_engine(folder, command=command).wait(30) == 0
    assert folder.log_file.read_text() == "one\ntwo\n"


def test_a_resumed_run_waits_with_its_step_kept(folder: RunFolder) -> None:
    run_folder.write_state(
        folder,
        RunState(state="failed", step=40, pid=1, eta_seconds=9.0, best_step=30, message="NaN"),
    )
    start_engine(folder, command=[sys.executable, "-c", ""]).wait(30)
    state = folder.state()
    assert state is not None
    assert (state.state, state.step, state.best_step) == ("idle", 40, 30)
    assert (state.pid, state.eta_seconds, state.message) == (None, None, "waiting for the engine")


def test_a_command_that_cannot_start_leaves_the_state(folder: RunFolder) -> None:
    before = RunState(state="cancelled", step=3, updated_at=time.time())
    run_folder.write_state(folder, before)
    with pytest.raises(UserError, match="the engine cannot be started"):
        start_engine(folder, command=["/no/such/program"])
    assert folder.state() == before


def test_a_log_that_cannot_be_written_is_one_sentence(folder: RunFolder) -> None:
    folder.log_file.mkdir()
    with pytest.raises(UserError, match=r"engine\.log cannot be written"):
        start_engine(folder, command=[sys.executable, "-c", ""])


def test_missing_packages_are_named_with_the_command_to_install_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = importlib.util.find_spec("json")

    def without_peft(name: str, package: str | None = None) -> Any:
        return None if name == "peft" else there

    monkeypatch.setattr(importlib.util, "find_spec", without_peft)
    with pytest.raises(UserError) as caught:
        check_installed()
    assert str(caught.value) == (
        'training needs peft; install with: pip install "tui-trainer[train]"'
    )


def test_the_engine_does_not_import_from_the_current_folder() -> None:
    assert engine_command() == [sys.executable, "-P", "-m", "tui_trainer.engine"]


def test_a_completed_run_needs_a_checkpoint_to_resume_from(folder: RunFolder) -> None:
    run_folder.write_state(folder, RunState(state="completed", step=9))
    with pytest.raises(UserError, match="completed and has no steps left"):
        check_startable(folder)
    with pytest.raises(UserError, match="no checkpoint 'best'"):
        check_startable(folder, "best")
    saved = folder.checkpoints_dir / "step-00000004"
    saved.mkdir(parents=True)
    checkpoints.seal(saved, 4)
    check_startable(folder, "4")


def test_a_killed_engine_that_the_user_wanted_killed_is_cancelled(folder: RunFolder) -> None:
    run_folder.write_state(folder, RunState(state="training", step=6, pid=None))
    end = describe_end(folder, -9, EngineStart.now(folder), wanted=True)
    assert end.status == folder.status() == "cancelled"
    assert end.message == "cancelled at step 6; nothing was saved since the last checkpoint"
