"""Trainings as the session tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.teaching.adapter import Measures
from tui_trainer.repl import training_commands

if TYPE_CHECKING:
    from tests.repl.conftest import Room


def carry_on(room: Room, **changes: Any) -> None:
    """The newest training changes, and the trainer says so."""
    room.trainer.records[-1] = msgspec.structs.replace(room.trainer.records[-1], **changes)
    room.trainer.report(room.trainer.records[-1])


def test_train_queues_what_waits(room: Room) -> None:
    assert room.refused("/train") == "nothing to train on"
    room.do("What?", "/good", "/train")
    assert room.last(events.TrainingStatus).record.state == "queued"
    room.do("/train")
    assert "in a training already" in room.notices()
    assert "usage: " in room.refused("/train now")


def test_changes_are_emitted_once(room: Room) -> None:
    room.do("What?", "/good", "/train")
    room.events.clear()
    room.trainer.report(room.trainer.records[-1])
    assert room.events == []
    carry_on(room, state="training", step=3)
    assert [type(event) for event in room.events] == [events.TrainingStatus]
    room.add_adapter("mine")
    room.adapters.set_live({"mine": 1.0})
    carry_on(room, state="live")
    assert room.last(events.AdaptersActivated).adapters == {"mine": 1.0}


def test_the_reason_why_nothing_can_be_trained_is_emitted(room: Room) -> None:
    room.trainer.problem = "the disk is full"
    room.trainer.report()
    assert room.last(events.SessionError).text == "the disk is full"
    room.events.clear()
    room.trainer.report()
    assert room.events == []
    room.do("/training")
    assert room.last(events.SessionError).text == "the disk is full"


def test_training_shows_queue_and_measures(room: Room) -> None:
    room.do("/training")
    assert "no training yet" in room.notices()
    assert room.last(events.BufferStatus).threshold == 10
    room.do("What?", "/good", "/train")
    carry_on(
        room,
        state="live",
        step=60,
        total_steps=60,
        before=Measures(recalled=0.0, kept=1.0),
        after=Measures(recalled=1.0, kept=0.997),
    )
    room.do("/training")
    [row] = room.last(events.TextTable).rows
    assert row[:7] == ["t1", "live", "60 / 60", "–", "1", "0 % → 100 %", "100 % → 99.7 %"]
    carry_on(room, state="training", learned=8, taught=10)
    room.do("/training")
    [row] = room.last(events.TextTable).rows
    assert row[:4] == ["t1", "training", "60 / 60", "8 / 10"]
    assert "usage: " in room.refused("/training stop")


def test_wait_returns_when_all_is_done(room: Room) -> None:
    room.do("/training wait")
    assert "no training is queued" in room.notices()
    room.do("What?", "/good", "/train")

    def go_on() -> None:
        if room.trainer.waits == 5:
            carry_on(room, state="live")

    room.trainer.on_wait = go_on
    room.do("/training wait")
    assert room.trainer.waits == 5
    facts = dict(room.last(events.TextTable).rows)
    assert (facts["training"], facts["state"]) == ("t1", "live")


def test_wait_emits_progress_and_in_the_end_the_result(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_commands, "_PROGRESS_SECONDS", 0.0)
    room.do("What?", "/good", "/train")
    room.add_adapter("mine")
    states: list[dict[str, Any]] = [
        {"state": "training", "expected_seconds": 90.0},
        {"step": 12, "learned": 8, "taught": 10, "eta_seconds": 40.0},
        {},
        {
            "state": "live",
            "step": 17,
            "adapter": "mine",
            "before": Measures(recalled=0.0, kept=1.0),
            "after": Measures(
                recalled=1.0, kept=0.97, recalled_count=10, kept_count=60, divergence=0.02
            ),
        },
    ]
    room.trainer.on_wait = lambda: carry_on(room, **states.pop(0)) if states else None
    room.events.clear()
    room.do("/training wait")
    assert room.notices().splitlines() == [
        "training t1: takes about 1:30",
        "training t1: 8 of 10 learned, step 12, about 40 s left",
    ]
    facts = dict(room.last(events.TextTable).rows)
    assert facts["steps"] == "17"
    assert facts["recalled"] == "0 % → 100 % of 10"
    assert facts["kept"] == "100 % → 97 % of 60"
    assert facts["change from the base"] == "0.02 nats per token"
    assert facts["adapter"] == str(room.adapters.folder("mine"))


def test_a_time_limit_that_was_raised_is_emitted_once(room: Room) -> None:
    room.do("What?", "/good", "/train")
    room.events.clear()
    carry_on(room, state="training")
    carry_on(room, step=3, limit_seconds=5400.0)
    carry_on(room, step=4)
    assert room.notices() == "training t1: its steps are slow, so that its time limit is 1:30:00"


@pytest.mark.parametrize("changes", [{"limit_seconds": 1800.0}, {"state": "live"}])
def test_a_usual_time_limit_needs_no_notice(room: Room, changes: dict[str, Any]) -> None:
    room.do("What?", "/good", "/train")
    room.events.clear()
    carry_on(room, state="training")
    carry_on(room, **changes)
    assert room.notices() == ""


def test_wait_fails_where_the_training_does(room: Room) -> None:
    room.do("What?", "/good", "/train")
    room.trainer.on_wait = lambda: carry_on(room, state="refused", message="it forgets")
    text = room.refused("/training wait")
    assert text == "training t1 refused: it forgets; /override activates it anyway"
    room.trainer.on_wait = lambda: None
    room.do("/training wait")
    assert "no training is queued" in room.notices(), "an earlier failure is not told again"


def test_waiting_can_be_cancelled(room: Room) -> None:
    room.do("What?", "/good", "/train")
    room.trainer.on_wait = room.session.cancel
    room.do("/training wait")
    assert "the training continues" in room.notices()
    assert room.session.training


def test_override_and_cancel_take_the_newest(room: Room) -> None:
    assert "no adapter was refused" in room.refused("/override")
    assert "no training is queued" in room.refused("/cancel")
    room.do("What?", "/good", "/train", "/cancel")
    assert room.trainer.cancelled == ["t1"]
    carry_on(room, state="refused")
    room.do("/override", "/override t7")
    assert room.trainer.overridden == ["t1", "t7"]
    assert "usage: " in room.refused("/override a b")
