"""A disk that fills up: checkpoints stop cleanly, training goes on, and both are said once."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

import pytest

from tui_trainer.engine import checkpoint, room
from tui_trainer.engine.session import Session
from tui_trainer.machine import record, sampler
from tui_trainer.store import checkpoints, control
from tui_trainer.store.runs import RunFolder

MakeRun = Callable[..., RunFolder]
RunEngine = Callable[..., int]
FULL, EMPTY = 1 << 20, 1 << 40


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the disk has free each time that a checkpoint asks; the last answer stands."""
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
    words = [event.message for event in folder.events() if event.detail.get("alarm")]
    assert "no checkpoint at step 6: the disk has 1 MB free" in words[0]


def test_a_run_that_cannot_be_saved_at_its_end_says_so(
    make_run: MakeRun, run_engine: RunEngine, disk: list[int]
) -> None:
    disk += [FULL]
    folder = make_run(training=small(checkpoint_every=0))
    assert run_engine(folder) == 1
    state = folder.state()
    assert state is not None and state.state == "failed"
    assert "step-00000012 is not saved: the disk has 1 MB free" in state.message


def test_a_stop_that_cannot_save_is_refused_and_the_run_goes_on(
    make_run: MakeRun, run_engine: RunEngine, disk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk += [FULL, FULL, EMPTY]
    folder = make_run(training=small(checkpoint_every=0))
    original = Session.collate
    asked: list[str] = []

    def ask(session: Session, examples: Any) -> Any:
        if session.state.step == 3 and not asked:
            asked.append(control.send(folder, "checkpoint", {}).id)
            asked.append(control.send(folder, "stop", {}).id)
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
    original = room.bytes_needed

    def noted(session: Session) -> int:
        needed.append(original(session))
        return needed[-1]

    monkeypatch.setattr(room, "bytes_needed", noted)
    folder = make_run(training=small())
    assert run_engine(folder) == 0
    size = sum(
        file.stat().st_size for file in checkpoints.list_checkpoints(folder)[-1][1].iterdir()
    )
    assert size <= needed[-1] <= size + room._BESIDE


def test_memory_that_runs_out_is_told_while_the_run_lives(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "_ram", lambda: (97, 100))
    monkeypatch.setattr(record, "FIRST_SECONDS", 0.05)
    original = Session.collate

    def slow(session: Session, examples: Any) -> Any:
        time.sleep(0.05)
        return original(session, examples)

    monkeypatch.setattr(Session, "collate", slow)
    folder = make_run(training=small())
    assert run_engine(folder) == 0
    told = [event for event in folder.events() if event.detail.get("alarm") == "ram"]
    assert [event.kind for event in told] == ["warning"]
    assert told[0].message.startswith("RAM is 97% full: lower training.batch_size")
