"""How one training ends: learned, refused, failed, or stopped by its time limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.teaching import conftest
from tests.teaching.conftest import WHEN, WHERE, WHO, ask_live
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store import child_process
from tui_trainer.teaching import engine_run

if TYPE_CHECKING:
    Room = Any


@pytest.mark.parametrize(
    ("mood", "state", "message"),
    [
        ("fail", "failed", "the loss is not finite"),
        ("crash", "failed", "SIGKILL"),
        ("sulk", "refused", "recalls only 0.0 % of the corrections"),
        ("forget", "refused", "keeps only 0.0 % of what was right"),
    ],
)
def test_a_training_that_came_to_nothing_leaves_its_examples_and_gives_the_reason(
    classroom: Room, mood: str, state: str, message: str
) -> None:
    classroom.mood(mood)
    trainer = classroom.trainer()
    ids = classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(30)

    (record,) = trainer.trainings()
    assert record.state == state
    assert message in record.message
    assert [e.id for e in classroom.feedback.pending()] == ids
    assert classroom.adapters.list() == []
    assert ask_live(classroom, "Who bakes?") == "?"

    classroom.mood("complete")
    trainer.wake()
    assert trainer.wait(20)
    assert len(trainer.trainings()) == 1, "it must not try again by itself"
    classroom.rate(WHERE)
    trainer.wake()
    assert trainer.wait(20)
    assert trainer.trainings()[1].state == "live"
    assert len(trainer.trainings()[1].examples) == 3


def test_an_engine_that_dies_is_started_once_more(classroom: Room) -> None:
    classroom.mood("crash once")
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(30)
    assert [r.state for r in trainer.trainings()] == ["live"]


def test_an_engine_trains_with_lower_priority(
    classroom: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that answers meanwhile come as quickly as they can."""
    started: list[list[str]] = []

    def start(command: list[str], **streams: Any) -> Any:
        started.append(command)
        return original(command, **streams)

    original = child_process.start
    monkeypatch.setattr(child_process, "start", start)
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(30)
    assert [command[-1] for command in started] == ["--background"]


def end_at_step_4(monkeypatch: pytest.MonkeyPatch, *, patience: float) -> None:
    """The time limit is over when the engine has got so far, however fast the computer is."""

    def count(run: Any, state: RunState | None) -> None:
        run._work_seconds = 1e9 if state is not None and state.step >= 4 else 0.0

    monkeypatch.setattr(engine_run, "PATIENCE_SECONDS", patience)
    monkeypatch.setattr(engine_run.EngineRun, "_count_time", count)


@pytest.mark.parametrize("mood", ["hang", "slow"])
def test_what_was_learned_before_the_time_limit_is_checked_instead_of_lost(
    classroom: Room, mood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that is stopped writes its adapter; of one that must be killed the newest
    checkpoint is taken."""
    end_at_step_4(monkeypatch, patience=10.0 if mood == "hang" else 0.5)
    classroom.mood(mood)
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(30)
    (record,) = trainer.trainings()
    assert record.state == "live", record.message
    assert record.message.startswith(
        "ended after its time limit of 30 minutes with 1 of 2 learned; "
    )
    assert "recalled 100 %" in record.message
    assert (record.learned, record.taught) == (1, 2)
    assert ask_live(classroom, "Who bakes?") == "Ana"
    assert classroom.feedback.pending() == []


@pytest.mark.parametrize(
    ("minutes", "shown"), [(None, "60 minutes"), (2.0, "2 minutes"), (0.5, "30 s")]
)
def test_the_time_limit_follows_the_first_steps_unless_it_is_set(
    classroom: Room, monkeypatch: pytest.MonkeyPatch, minutes: float | None, shown: str
) -> None:
    """All 60 steps have one and a half times the 40 s of each of the first."""
    monkeypatch.setenv("FAKE_STEP_SECONDS", "40")
    end_at_step_4(monkeypatch, patience=10.0)
    classroom.mood("hang")
    classroom.settings = msgspec.structs.replace(classroom.settings, time_limit_minutes=minutes)
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(30)
    (record,) = trainer.trainings()
    assert record.limit_seconds == (3600 if minutes is None else 60 * minutes)
    assert record.message.startswith(f"ended after its time limit of {shown} with 1 of 2 learned; ")


def test_an_adapter_of_a_training_that_was_too_slow_may_be_refused(
    classroom: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_at_step_4(monkeypatch, patience=0.5)
    classroom.mood("slow")
    classroom.client.known = {}
    monkeypatch.setattr(conftest, "learned_by", lambda _folder: {})
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(30)
    (record,) = trainer.trainings()
    assert record.state == "refused"
    assert (
        "time limit of 30 minutes with 1 of 2 learned; the adapter is not activated"
        in record.message
    )
    assert len(classroom.feedback.pending()) == 2
