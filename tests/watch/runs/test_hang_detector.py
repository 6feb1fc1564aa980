"""A step that takes too long is seen while it lasts; everything else is no hang."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tui_trainer.contracts.advice import Advice, AdvisorSettings, Evidence
from tui_trainer.contracts.job import DataSettings, Job
from tui_trainer.contracts.runs.metrics import TrainRecord
from tui_trainer.contracts.runs.run import Event, RunInfo, RunState
from tui_trainer.store import atomic
from tui_trainer.store.runs import process_identity
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.runs.hang_detector import HangDetector

MEDIAN = 0.5  # seconds a step: a hang is one of more than 10


class Run:
    """A run folder whose engine is this process, and a vigil whose clock we turn."""

    def __init__(self, path: Path, advisor: AdvisorSettings | None = None) -> None:
        path.mkdir()
        self.folder = RunFolder(path)
        self.clock = 100.0
        self.state = RunState(
            state="training", step=0, total_steps=500, pid=os.getpid(),
            pid_created=time.time() - 1000, updated_at=time.time(),
        )  # fmt: skip
        job = Job(data=DataSettings(train="t.jsonl"), advisor=advisor)
        self.info: RunInfo | None = RunInfo(
            id="a", name="a", created_at=1.0, versions={}, host="here", job=job,
            base_model="builtin", base_path=None, base_hash=None, data_hash="", data_files={},
            seed=1,
        )  # fmt: skip
        self.hang_detector = HangDetector(self.folder)

    def steps(self, count: int, seconds: float = MEDIAN) -> None:
        with atomic.appending(self.folder.metrics_file) as lines:
            for step in range(self.state.step + 1, self.state.step + count + 1):
                lines.append(
                    TrainRecord(
                        step=step, epoch=0.1, loss=1.0, learning_rate=1e-4, gradient_norm=1.0,
                        step_time_ms=1000 * seconds, tokens=9, examples=1, time=time.time(),
                    )
                )  # fmt: skip
        self.set(step=self.state.step + count, updated_at=time.time())

    def set(self, **changes: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)

    def after(self, seconds: float, status: str | None = None) -> Advice | None:
        """What stands after so many seconds of looks, one a second."""
        for _ in range(int(seconds)):
            self.clock += 1.0
            self.hang_detector.check(self.state, status or self.state.state, self.info, self.clock)
        return self.hang_detector.stalled

    def report(self, *advice: Advice) -> None:
        with atomic.appending(self.folder.events_file) as events:
            for one in advice:
                detail = msgspec.to_builtins(one)
                events.append(Event(time=time.time(), step=1, kind="advice", detail=detail))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Run]:
    return lambda **options: Run(tmp_path / "run", **options)


def test_a_hang_is_seen_while_it_lasts_and_over_with_the_next_step(
    make: Callable[..., Run],
) -> None:
    run = make()
    run.after(1)
    run.steps(40)
    assert run.after(10) is None, "20 median steps are 10 s"
    found = run.after(3)
    assert found is not None
    assert (found.kind, found.urgency, found.step) == ("stalled", "critical", 40)
    assert found.reason == (
        "No step has finished for 10 s since step 40; the median step takes 500 ms."
    )
    assert (found.evidence.level, found.evidence.limit) == (500.0, 10_000.0)
    assert run.after(60) is found, "raised once, and it lasts"
    run.steps(1)
    assert run.after(1) is None


def test_quick_steps_have_five_seconds(make: Callable[..., Run]) -> None:
    run = make()
    run.after(1)
    run.steps(40, 0.005)
    assert run.after(5) is None
    assert run.after(2) is not None


def test_a_state_that_lags_behind_names_the_newest_step(make: Callable[..., Run]) -> None:
    run = make()
    run.after(1)
    run.steps(40)
    run.set(step=38)
    found = run.after(14)
    assert found is not None
    assert found.step == 40


@pytest.mark.parametrize("state", ["evaluating", "saving", "preparing", "paused", "completed"])
def test_other_work_is_no_hang_and_time_counts_from_its_end(
    make: Callable[..., Run], state: str
) -> None:
    run = make()
    run.steps(40)
    run.set(state=state)
    assert run.after(100) is None
    run.set(state="training")
    assert run.after(10) is None
    assert run.after(3) is not None


def test_a_process_that_is_gone_is_a_crash_and_no_hang(make: Callable[..., Run]) -> None:
    run = make()
    run.steps(40)
    assert run.after(13) is not None
    assert run.after(1, "crashed") is None


def test_first_steps_and_the_last_one_are_unknown(make: Callable[..., Run]) -> None:
    run = make()
    run.steps(7)
    assert run.after(100) is None, "too few were timed"
    run.steps(40)
    run.set(total_steps=47)
    assert run.after(100) is None, "there is no step to come"
    run.set(total_steps=500, pid_created=time.time() + 5)
    assert run.after(100) is None, "resumed: that session's first steps may warm up"


def test_a_hang_that_was_there_before_is_seen_at_the_first_look(make: Callable[..., Run]) -> None:
    run = make()
    run.steps(40)
    assert run.after(1) is None, "it trained until now"
    file = run.folder.metrics_file
    rows = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    with file.open("wb") as lines:
        for row in rows:
            lines.write(msgspec.json.encode({**row, "time": row["time"] - 60}) + b"\n")
    run.set(updated_at=time.time() - 60)
    late = HangDetector(run.folder)
    late.check(run.state, "training", run.info, 0.0)
    assert late.stalled is not None


def test_time_in_which_nobody_looked_does_not_count(make: Callable[..., Run]) -> None:
    run = make()
    run.after(1)
    run.steps(40)
    run.after(3)
    run.clock += 3600  # the lid was shut
    assert run.after(3) is None
    assert run.after(10) is not None


def test_another_host_and_no_advisor_give_nothing(make: Callable[..., Run]) -> None:
    run = make(advisor=AdvisorSettings(enabled=False))
    run.steps(40)
    assert run.after(100) is None
    assert run.info is not None
    job = msgspec.structs.replace(run.info.job, advisor=AdvisorSettings(hang_factor=40))
    run.info = msgspec.structs.replace(run.info, job=job)
    assert run.after(19) is None, "its job says forty"
    assert run.after(3) is not None
    run.set(host="elsewhere")
    assert run.after(100) is None, "its process cannot be asked"


def test_another_programs_loop_has_a_minute(make: Callable[..., Run]) -> None:
    run = make()
    run.info = None
    run.after(1)
    run.steps(40)
    for _ in range(5):
        assert run.after(11) is None
        run.set(updated_at=time.time())  # a sign of life of its writer, not of the loop
    assert run.after(8) is not None


def test_a_loop_that_reports_few_steps_may_rest_longer(make: Callable[..., Run]) -> None:
    run = make()
    run.info = None
    run.after(1)
    for age in range(40, 0, -1):
        run.steps(1, 0.1)
        file = run.folder.metrics_file
        rows = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
        rows[-1]["time"] -= 100 * age  # a row in a hundred seconds
        file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    run.set(pid_created=time.time() - 10_000)
    for _ in range(19):
        assert run.after(10) is None
    assert run.after(20) is not None


def advice(kind: Any, urgency: Any = "critical", status: Any = "raised") -> Advice:
    return Advice(
        id=f"{kind}-1", kind=kind, urgency=urgency, status=status, step=1, updated_step=1,
        learning_rate=None, suggested_lr=None, factor=None, reason="So it is.",
        evidence=Evidence(metric="loss", first_step=1, last_step=1), confidence=0.9,
    )  # fmt: skip


def test_critical_advice_is_seen_even_if_it_is_soon_over(make: Callable[..., Run]) -> None:
    run = make()
    run.report(advice("non_finite"), advice("non_finite", status="closed"), advice("stalled"))
    run.report(advice("plateau", "low"), advice("divergence", "high"))
    run.after(1)
    assert [one.kind for one in run.hang_detector.critical] == ["non_finite"]
    run.report(advice("divergence", "critical", "updated"))
    run.after(1)
    assert [one.kind for one in run.hang_detector.critical] == ["non_finite", "divergence"]


def test_what_was_reported_in_an_earlier_session_is_not_news(make: Callable[..., Run]) -> None:
    run = make()
    detail = msgspec.to_builtins(advice("divergence"))
    old = Event(time=time.time() - 3600, step=1, kind="advice", detail=detail)
    run.folder.events_file.write_bytes(msgspec.json.encode(old) + b"\n{torn")
    run.after(1, "cancelled")
    run.after(1, "training")
    assert run.hang_detector.critical == ()


def test_a_muted_kind_stays_silent(make: Callable[..., Run]) -> None:
    run = make()
    detail = {"command": "mute", "accepted": True, "kind": "stalled"}
    event = Event(time=time.time(), step=1, kind="command", detail=detail)
    run.folder.events_file.write_bytes(msgspec.json.encode(event) + b"\n")
    run.steps(40)
    assert run.after(100) is None


def test_a_clock_that_is_set_back_hides_neither_a_hang_nor_advice(
    make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make()
    run.set(**process_identity.own_identity())
    run.after(1)
    real, create_time = time.time, psutil.Process.create_time
    monkeypatch.setattr(time, "time", lambda: real() - 86_400)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) - 86_400)
    run.steps(40)
    run.report(advice("divergence"))
    found = run.after(15)
    assert found is not None and found.kind == "stalled"
    assert [one.kind for one in run.hang_detector.critical] == ["divergence"]
