"""`/set` for settings that chat and teaching both have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tui_trainer.contracts.chat import session as events
from tui_trainer.store.settings import load_settings

if TYPE_CHECKING:
    Room = Any


@pytest.fixture
def with_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_trainer.store.job_checks._installed", lambda _: True)


@pytest.mark.usefixtures("with_bitsandbytes")
def test_quantization_is_set_for_chat_and_teaching_apart(room: Room) -> None:
    room.do("/set teaching.quantization nf4")
    assert "teaching.quantization is set to nf4, also for later sessions" in room.notices()
    assert (load_settings().teaching.quantization, load_settings().chat.quantization) == (
        "nf4",
        "none",
    )
    room.do("/set chat.quantization nf4")
    assert "chat.quantization is set to nf4, for later sessions only" in room.notices()
    room.do("/set teaching.quantization default")
    assert (room.session.settings.quantization, room.session.context.chat.quantization) == (
        "none",
        "nf4",
    )
    room.do("/set chat.quantization")
    assert [row[:2] for row in room.last(events.TextTable).rows] == [["chat.quantization", "nf4"]]


def test_a_name_of_both_sections_needs_the_section(room: Room) -> None:
    assert room.refused("/set quantization nf4") == (
        "there are several settings quantization; use chat.quantization or teaching.quantization"
    )
    room.do("/set")
    names = [row[0] for row in room.last(events.TextTable).rows]
    assert {"chat.quantization", "teaching.quantization", "precision"} <= set(names)
    assert "quantization" not in names


def test_quantization_without_bitsandbytes_is_refused(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.store.job_checks._installed", lambda _: False)
    assert room.refused("/set chat.quantization nf4") == (
        'chat.quantization = "nf4" needs bitsandbytes: pip install bitsandbytes, or use "none"'
    )
    assert load_settings().chat.quantization == "none"


def test_precision_and_checkpointing_are_checked(room: Room) -> None:
    room.do("/set precision bf16", "/set gradient_checkpointing true")
    settings = room.session.settings
    assert (settings.precision, settings.gradient_checkpointing) == ("bf16", True)
    assert "gradient_checkpointing is set to true" in room.notices()
    assert "precision" in room.refused("/set precision int8")
    assert "gradient_checkpointing" in room.refused("/set gradient_checkpointing sometimes")
    room.do("/set precision default")
    assert load_settings().teaching.precision == "auto"


def test_what_the_trainer_changed_by_itself_is_a_notice(room: Room) -> None:
    from tui_trainer.contracts.teaching.training import TrainingNews

    news = TrainingNews(buffer=room.trainer.buffer(), notice="trained again with less memory")
    room.session.training_changed(news)
    assert "trained again with less memory" in room.notices()
