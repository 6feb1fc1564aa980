"""Checkpoints on a full disk: they stop, training continues, and both are logged once."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.engine.checkpoints import checkpoint, disk_space
from tui_trainer.engine.state.session import Session
from tui_trainer.hardware import recorder, sampler
from tui_trainer.store.runs import checkpoints, run_control
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
RunEngine = Callable[..., int]
FULL, EMPTY = 1 << 20, 1 << 40


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fake the free disk space of each check; the last value is repeated."""
    answers: list[int] = []

    def free(_: Any) -> int:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr(sampler, "disk_free", free)
    return answers


def alarms(folder: RunFolder) -> list[tuple[int, bool]]:
    return [
        (event.step, event.detail["open"])
        for event in folder.events()
        if event.detail.get("alarm") == "checkpoint_room"
    ]


def saved(folder: RunFolder) -> list[int]:
    return [step for step, _ in checkpoints.list_checkpoints(folder)]


def small(**changes: Any) -> dict[str, Any]:
    return {"max_steps": 12, "eval_every": 0, "checkpoint_every": 3, "keep_checkpoints": 9,
            **changes}  # fmt: skip


def test_checkpoints_stop_while_the_disk_is_full_and_come_back(
    make_run: MakeRun, run_engine: RunEngine, disk: list[int]
) -> None:
    disk += [EMPTY, FULL, FULL, EMPTY]
    folder = make_run(training=small())
    assert run_engine(folder) == 0
    assert saved(folder) == [3, 12]
    assert alarms(folder) == [(6, True), (12, False)]
    assert not list(folder.checkpoints_dir.glob(".*"))
    message_lines = [event.message for event in folder.events() if event.detail.get("alarm")]
    assert "no checkpoint at step 6: the disk has 1.0 MiB free" in message_lines[0]


def test_a_result_that_fits_is_saved_where_the_last_checkpoint_does_not(
    make_run: MakeRun, run_engine: RunEngine, disk: list[int]
) -> None:
    disk += [FULL]
    folder = make_run(training=small(checkpoint_every=0))
    assert run_engine(folder) == 0
    assert folder.status() == "completed"
    assert (folder.adapter_dir / "adapter_model.safetensors").is_file()
    assert (folder.adapter_dir / "README.md").is_file()
    assert saved(folder) == []
    assert alarms(folder) == [(12, True)]


def test_a_small_disk_is_enough_for_small_checkpoints(
    make_run: MakeRun, run_engine: RunEngine, disk: list[int]
) -> None:
    disk += [8 << 20]
    folder = make_run(training=small())
    assert run_engine(folder) == 0
    assert saved(folder) == [3, 6, 9, 12]
    assert alarms(folder) == []


def test_a_stop_that_cannot_save_is_refused_and_the_run_goes_on(
    make_run: MakeRun, run_engine: RunEngine, disk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk += [FULL, FULL, EMPTY]
    folder = make_run(training=small(checkpoint_every=0))
    original = Session.collate
    asked: list[str] = []

    def ask(session: Session, examples: Any) -> Any:
        if session.state.step == 3 and not asked:
            asked.append(run_control.send(folder, "checkpoint", {}).id)
            asked.append(run_control.send(folder, "stop", {}).id)
        return original(session, examples)

    monkeypatch.setattr(Session, "collate", ask)
    assert run_engine(folder) == 0
    answers = {event.id: event for event in folder.events() if event.kind == "command"}
    assert [answers[one].detail["accepted"] for one in asked] == [False, False]
    assert answers[asked[1]].message.endswith("or cancel the run")
    assert saved(folder) == [12]


def test_a_disk_that_fills_up_while_a_checkpoint_is_written(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = checkpoint._fill

    def fill(temporary: Any, snapshot: Any) -> None:
        original(temporary, snapshot)
        if snapshot.step == 6:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_fill", fill)
    folder = make_run(training=small())
    assert run_engine(folder) == 0
    assert saved(folder) == [3, 9, 12]
    assert [opens for _, opens in alarms(folder)] == [True, False]
    assert not list(folder.checkpoints_dir.glob(".*"))


def test_what_a_checkpoint_needs_is_about_what_it_takes(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed: list[int] = []
    original = disk_space.bytes_needed

    def noted(session: Session) -> int:
        needed.append(original(session))
        return needed[-1]

    monkeypatch.setattr(disk_space, "bytes_needed", noted)
    folder = make_run(training=small())
    assert run_engine(folder) == 0
    size = sum(
        file.stat().st_size for file in checkpoints.list_checkpoints(folder)[-1][1].iterdir()
    )
    assert size <= needed[-1] <= size + disk_space._OVERHEAD_BYTES


def test_full_memory_is_logged_while_the_run_trains(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "_ram", lambda: (97, 100))
    monkeypatch.setattr(recorder, "FIRST_SECONDS", 0.05)
    original = Session.collate

    def slow(session: Session, examples: Any) -> Any:
        time.sleep(0.05)
        return original(session, examples)

    monkeypatch.setattr(Session, "collate", slow)
    folder = make_run(training=small())
    assert run_engine(folder) == 0
    reported = [event for event in folder.events() if event.detail.get("alarm") == "ram"]
    assert [event.kind for event in reported] == ["warning"]
    assert reported[0].message.startswith("RAM is 97 % full: lower training.batch_size")


def outlook(need: int, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str | None]:
    """An outlook on a run that saves every 100 steps; gives `look(at, step, free)` in words."""
    monkeypatch.setattr(disk_space, "bytes_needed", lambda _: need)
    monkeypatch.setattr(disk_space, "adapter_bytes", lambda _: 0)
    session: Any = SimpleNamespace(
        state=SimpleNamespace(step=0),
        plan=SimpleNamespace(total_steps=1000),
        job=SimpleNamespace(training=SimpleNamespace(checkpoint_every=100)),
        folder=SimpleNamespace(path="runs/small"),
    )
    seen = disk_space.SpaceForecast(session)

    def look(at: float, step: int, free: int) -> str | None:
        session.state.step = step
        alarm = seen.observe(HardwareSample(time=at, disk_free=free))
        return None if alarm is None else f"{alarm.opens}: {alarm.message}"

    return look


def test_a_disk_too_full_for_the_next_checkpoint_is_logged_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = outlook(100_000_000, monkeypatch)
    # 10 MB/s go, and a step takes a second: at step 100 there would be 900 MB left.
    for at in range(0, 40, 2):
        assert look(at, at, 1_900_000_000 - at * 10_000_000) is None
    # 30 MB/s from here on.
    for at in range(40, 70, 2):
        message_lines = look(at, at, 1_500_000_000 - (at - 40) * 30_000_000)
        if message_lines is not None:
            break
    assert message_lines is not None
    assert "will be too full for the checkpoint at step 100" in message_lines
    assert " and fills at " in message_lines
    assert look(72, 72, 900_000_000_000) == "False: the disk has room for the next checkpoint again"


def test_a_disk_that_is_too_full_now_is_reported_at_once_and_one_that_empties_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = outlook(100_000_000, monkeypatch)
    message_lines = look(0, 201, 99_000_000)
    assert (
        message_lines is not None
        and "at step 300: runs/small has 94.4 MiB free, and" in message_lines
    )
    assert look(2, 202, 110_000_000) is None  # not enough to close it
    assert look(4, 203, 126_000_000) is not None
    for at in range(6, 60, 2):
        assert look(at, 203 + at, 126_000_000 + at * 1_000_000) is None
