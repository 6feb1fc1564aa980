"""Run folders: creating, finding, and which runs are alive."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store import atomic, jobs, model_files, paths, regular_files
from tui_trainer.store.runs import checkpoints, process_identity, run_control, run_folder
from tui_trainer.store.runs.run_folder import RunFolder


@pytest.fixture
def job(tmp_path: Path, write_rows: Callable[..., Path]) -> Job:
    file = write_rows("train.jsonl", [{"question": "what?", "answer": "that"}])
    return jobs.check_job({"name": "mine", "data": {"train": str(file)}}, tmp_path, "test")


def test_a_new_run_has_its_facts(tmp_path: Path, job: Job) -> None:
    folder = run_folder.create_run(tmp_path / "runs", job)
    info = folder.info()
    assert info is not None
    assert info.name == "mine"
    assert info.job == job
    assert info.base_model == "builtin"
    assert info.base_hash == model_files.hash_model(paths.builtin_model())
    assert list(info.data_files) == [str(tmp_path / "train.jsonl")]
    assert info.versions["python"].startswith("3.")
    assert folder.status() == "idle"
    assert run_folder.list_runs(tmp_path / "runs") == [folder]


def test_byte_order_marks_in_a_run_folder_are_accepted(tmp_path: Path, job: Job) -> None:
    folder = run_folder.create_run(tmp_path / "runs", job)
    for file in (folder.info_file, folder.state_file):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    again = RunFolder(folder.path)
    assert again.info() is not None and again.state() is not None
    assert run_folder.why_unreadable(folder.state_file, RunState) is None


def test_run_json_is_read_once_until_it_is_replaced(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_folder.create_run(tmp_path / "runs", job).path
    read: list[Path] = []

    def counting(file: Path) -> bytes:
        read.append(file)
        return regular_files.read_regular(file)

    monkeypatch.setattr("tui_trainer.store.runs.run_folder.read_regular", counting)
    info = RunFolder(path).info()
    assert info is not None
    basics = RunFolder(path).basics()
    assert basics is not None and basics.name == "mine"
    assert RunFolder(path).loop_info() is None
    assert read == [path / "run.json"]
    atomic.write_json(path / "run.json", msgspec.structs.replace(info, name="other"))
    replaced = RunFolder(path).info()
    assert replaced is not None and replaced.name == "other"
    (path / "run.json").unlink()
    assert RunFolder(path).info() is None


def test_found_by_path_id_and_name(tmp_path: Path, job: Job) -> None:
    directory = tmp_path / "runs"
    first = run_folder.create_run(directory, job)
    time.sleep(0.01)
    second = run_folder.create_run(directory, job)
    assert run_folder.find_run(str(first.path), directory) == first
    assert run_folder.find_run(first.path.name, directory) == first
    assert run_folder.find_run("mine", directory) == second
    with pytest.raises(UserError, match="the newest there"):
        run_folder.find_run("other", directory)
    with pytest.raises(UserError, match="has no runs"):
        run_folder.find_run("other", tmp_path / "nothing")
    with pytest.raises(UserError, match=r"it has no run\.json"):
        run_folder.find_run(str(tmp_path), directory)


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a..b", "x" * 101, "sp ace"])
def test_names_cannot_leave_their_folder(tmp_path: Path, job: Job, name: str) -> None:
    with pytest.raises(UserError, match="cannot be a folder's name"):
        paths.safe_name(name)


def alive(**changes: object) -> RunState:
    created = psutil.Process().create_time()
    values: dict[str, object] = {"state": "training", "pid": os.getpid(), "pid_created": created}
    return RunState(**{**values, **changes})  # type: ignore[arg-type]


def test_a_run_whose_process_is_gone_has_crashed() -> None:
    assert run_folder.status_of(alive()) == "training"
    assert run_folder.status_of(alive(pid_created=1.0)) == "crashed", "the pid belongs to another"
    assert run_folder.status_of(alive(pid=None)) == "crashed"
    assert run_folder.status_of(alive(state="completed", pid=None)) == "completed"
    assert run_folder.status_of(None) == "unknown"


def test_a_zombie_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    try:
        deadline = time.monotonic() + 20
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not process_identity.process_alive(child.pid, None)
    finally:
        child.wait()


def test_a_run_of_another_host_is_stale_after_a_silence() -> None:
    elsewhere = {"host": "another-machine", "pid": 1}
    assert run_folder.status_of(alive(**elsewhere, updated_at=time.time())) == "training"
    assert run_folder.status_of(alive(**elsewhere, updated_at=time.time() - 999)) == "stale"


def test_commands_are_accepted_only_by_a_live_run(tmp_path: Path, job: Job) -> None:
    folder = run_folder.create_run(tmp_path / "runs", job)
    run_folder.write_state(folder, alive(state="completed"))
    with pytest.raises(UserError, match="is completed and accepts no commands"):
        run_control.send(folder, "pause")
    run_folder.write_state(folder, alive())
    command = run_control.send(folder, "set-lr", {"learning_rate": 1e-4})
    assert folder.commands() == [command]
    assert run_control.wait(folder, command, timeout=0.05) is None
    with atomic.appending(folder.events_file) as lines:
        lines.append({"time": 1.0, "step": 3, "kind": "command", "id": command.id})
    event = run_control.wait(folder, command, timeout=5)
    assert event is not None
    assert event.step == 3


def test_a_torn_line_spoils_only_itself(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"time":1,"step":1,"kind":"state"}\n{"time":2,"st')
    with atomic.appending(file) as lines:
        lines.append({"time": 3, "step": 3, "kind": "state"})
    assert [event.step for event in RunFolder(tmp_path).events()] == [1, 3]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    atomic.write_bytes(file, b"old")
    with pytest.raises(TypeError):
        atomic.write_bytes(file, object())  # type: ignore[arg-type]
    assert file.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]
    assert file.stat().st_mode & 0o777 == 0o600


def sealed(run: RunFolder, step: int) -> Path:
    folder = run.checkpoints_dir / checkpoints.checkpoint_name(step)
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"w" * step)
    checkpoints.seal(folder, step)
    return folder


def test_a_spared_checkpoint_is_kept_and_a_damaged_one_not_used(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    made = {step: sealed(run, step) for step in (10, 20, 30, 40)}
    assert checkpoints.prune(run, keep=1, spared={20}) == ["step-00000010", "step-00000030"]
    assert checkpoints.newest_up_to(run, 39) == made[20]
    (made[20] / "weights").write_bytes(b"torn")
    assert checkpoints.newest_up_to(run, 39) is None
    assert checkpoints.newest_up_to(run, 40) == made[40]


def test_checkpoints_keep_the_newest_and_the_best(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for step in (10, 20, 30, 40):
        sealed(run, step)
    checkpoints.point_best(run, "step-00000010")
    assert checkpoints.prune(run, keep=2) == ["step-00000020"]
    assert [step for step, _ in checkpoints.list_checkpoints(run)] == [10, 30, 40]
    assert checkpoints.best_name(run) == "step-00000010"
    found = checkpoints.find_checkpoint(run, "best")
    assert found is not None
    assert found.name == "step-00000010"


def test_a_damaged_checkpoint_is_named_or_passed_over(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    whole, broken = sealed(run, 10), sealed(run, 20)
    (broken / "weights").write_bytes(b"w" * 19 + b"x")
    assert checkpoints.problem(broken) == "weights has changed since it was saved"
    assert checkpoints.find_checkpoint(run, None) == whole
    with pytest.raises(UserError, match="cannot be used: weights has changed since it was saved"):
        checkpoints.find_checkpoint(run, "20")
    (whole / "weights").unlink()
    assert checkpoints.problem(whole) == "weights is missing"
    assert checkpoints.find_checkpoint(run, None) is None
