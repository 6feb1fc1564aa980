"""Only a folder in which nothing was trained, and which has nothing of the user, is removed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store import file_lock, jobs
from tui_trainer.store.runs import disk_reserve, run_folder, untrained_run
from tui_trainer.store.runs.run_folder import RunFolder


@pytest.fixture
def refused(tmp_path: Path) -> RunFolder:
    """A run that was refused: with every file that an engine writes before its first step."""
    return make(tmp_path, cache=True)


def make(tmp_path: Path, *, cache: bool) -> RunFolder:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    values = {
        "name": "small",
        "model": "builtin",
        "data": {"train": "rows.jsonl", "cache": cache},
        "training": {"max_steps": 2},
    }
    job = jobs.check_job(values, tmp_path, "job")
    folder = run_folder.create_run(tmp_path / "runs", job)
    for file in (folder.events_file, folder.log_file, folder.hardware_file, folder.notices_file):
        file.write_text("{}\n")
    folder.metrics_file.touch()
    folder.checkpoints_dir.mkdir()
    disk_reserve.make(folder.path)
    run_folder.write_state(folder, RunState(state="failed", updated_at=time.time()))
    return folder


def test_a_refused_run_is_removed(refused: RunFolder) -> None:
    assert untrained_run.remove(refused)
    assert not refused.path.exists()
    assert untrained_run.remove(refused)  # it may be deleted by hand meanwhile


@pytest.mark.parametrize("file", ["metrics.jsonl", "user.json", "mine.txt", "adapter/x"])
def test_what_was_trained_or_noted_stays(refused: RunFolder, file: str) -> None:
    (refused.path / file).parent.mkdir(exist_ok=True)
    (refused.path / file).write_text("{}\n")
    assert not untrained_run.remove(refused)
    assert (refused.path / file).exists()


def test_a_run_with_an_engine_stays(refused: RunFolder) -> None:
    with file_lock.try_lock(refused.lock_file) as got:
        assert got
        assert not untrained_run.remove(refused)


@pytest.mark.parametrize("cache", [True, False])
def test_rows_that_a_model_wrote_are_not_lost(tmp_path: Path, cache: bool) -> None:
    folder, new = make(tmp_path, cache=cache), make(tmp_path, cache=cache)
    folder.augmented_file.write_text(json.dumps({"rows": 1}))
    assert cache or not untrained_run.remove(folder)
    untrained_run.replace(folder, new)
    assert not folder.path.exists()
    assert json.loads(new.augmented_file.read_text()) == {"rows": 1}


def test_a_folder_that_cannot_be_deleted_is_named(
    refused: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", fail)
    with pytest.raises(UserError, match=r"^Permission denied: .* delete .*small-"):
        untrained_run.remove(refused)
