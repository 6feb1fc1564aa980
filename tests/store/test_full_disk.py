"""A disk that is full: what is written waits, and the last state can always be written."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store import atomic, waiting_lines
from tui_trainer.store.runs import disk_reserve, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.store.waiting_lines import WaitingAppender


class Disk:
    """A disk of which `free` bytes are left to new content; None for as many as are wanted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free: int | None = None
        self.error = errno.ENOSPC
        write = os.write

        def limited(descriptor: int, data: Any) -> int:
            if self.free is None:
                return write(descriptor, data)
            if self.free == 0:
                raise OSError(self.error, os.strerror(self.error))
            count = write(descriptor, bytes(data)[: self.free])
            self.free -= count
            return count

        monkeypatch.setattr(os, "write", limited)
        monkeypatch.setattr(waiting_lines, "RETRY_SECONDS", 0.0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], bool]], None]:
    """No new file can be made while the function says so."""

    def make(is_full: Callable[[], bool]) -> None:
        opened = os.open

        def guarded(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            if flags & os.O_EXCL and is_full():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return opened(path, flags, *rest, **options)

        monkeypatch.setattr(os, "open", guarded)

    return make


def steps(file: Path) -> list[int]:
    return [msgspec.json.decode(line)["step"] for line in file.read_bytes().splitlines()]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("left", [0, 5, 11, 17])
def test_waiting_lines_are_written_completely_and_in_order(
    disk: Disk, tmp_path: Path, left: int, error: int
) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = WaitingAppender(file)
    lines.append({"step": 1})
    disk.free, disk.error = left, error
    lines.append_all({"step": step} for step in (2, 3))
    lines.append({"step": 4})
    assert lines.waiting
    disk.free = None
    lines.append({"step": 5})
    assert (lines.waiting, lines.lost) == (0, 0)
    assert steps(file) == [1, 2, 3, 4, 5]


def test_of_too_many_the_oldest_are_dropped_and_counted(disk: Disk, tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = WaitingAppender(file, most=100)
    disk.free = 5  # the first line is begun, and must be completed
    for step in range(10, 40):
        lines.append({"step": step})
    assert lines.waiting + lines.lost == 30
    kept = lines.waiting
    disk.free = None
    assert lines.flush()
    assert steps(file) == [10, *range(41 - kept, 40)]


def test_another_fault_is_raised_with_the_file(disk: Disk, tmp_path: Path) -> None:
    lines = WaitingAppender(tmp_path / "metrics.jsonl")
    disk.free, disk.error = 0, errno.EIO
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        lines.append({"step": 1})


def test_a_torn_end_is_closed_once_there_is_room(disk: Disk, tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step":1}\n{"st')
    disk.free = 0
    lines = WaitingAppender(file)
    lines.append({"step": 3})
    disk.free = None
    lines.append({"step": 4})
    assert file.read_bytes() == b'{"step":1}\n{"st\n{"step":3}\n{"step":4}\n'


def make_run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    state = RunState(state="training", step=12_345, message="x" * 50, updated_at=time.time())
    run_folder.write_state(folder, state)
    return folder


def test_the_last_state_takes_the_space_in_reserve(
    tmp_path: Path, full: Callable[[Callable[[], bool]], None]
) -> None:
    folder = make_run(tmp_path)
    assert disk_reserve.make(folder.path) is None
    kept = folder.path / disk_reserve.NAME
    assert kept.stat().st_blocks * 512 >= disk_reserve.RESERVE_BYTES
    full(kept.exists)
    run_folder.write_state(folder, RunState(state="training", step=12_346))
    assert kept.exists(), "only an end takes it"
    found = folder.state()
    assert found is not None and found.step == 12_346
    run_folder.write_state(
        folder, RunState(state="failed", step=12_346, message="the disk is full")
    )
    assert folder.status() == "failed"
    assert not kept.exists()
    assert [path.name for path in folder.path.iterdir()] == ["state.json"]


def test_without_a_reserve_the_state_is_written_over_in_place(
    tmp_path: Path, full: Callable[[Callable[[], bool]], None]
) -> None:
    folder = make_run(tmp_path)
    full(lambda: True)
    assert disk_reserve.make(folder.path) == os.strerror(errno.ENOSPC)
    before = folder.state_file.stat()
    for state in (
        RunState(state="training", step=7),
        RunState(state="failed", step=8, message="a longer message than before " * 9),
        RunState(state="completed", step=9),
    ):
        run_folder.write_state(folder, state)
        assert folder.state() == state
    assert folder.state_file.stat().st_ino == before.st_ino


def test_other_faults_of_the_state_are_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(atomic, "write_json", refuse)
    with pytest.raises(OSError, match="Read-only"):
        run_folder.write_state(folder, RunState(state="failed"))


def test_a_run_folder_that_cannot_be_filled_is_deleted(
    tmp_path: Path, full: Callable[[Callable[[], bool]], None]
) -> None:
    full(lambda: True)
    with pytest.raises(UserError, match=r"cannot create a run folder in .*; free some space"):
        run_folder.create_loop_run(tmp_path, "mine", "loop.py", {}, RunState(state="preparing"))
    assert list(tmp_path.iterdir()) == []
