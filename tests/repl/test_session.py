"""Asking, settings, and what survives a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.repl.command_table import COMMANDS
from tui_trainer.store import paths
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.settings import load_settings

if TYPE_CHECKING:
    from tests.repl.conftest import Room


def test_an_answer_streams_and_is_kept(room: Room) -> None:
    room.client.says = ["It is Paris"]
    happened = room.do("What?")
    assert [e.text for e in happened if isinstance(e, events.Token)] == ["It", "is", "Paris"]
    assert happened[-1] == events.Answered(
        query="What?", response="It is Paris", adapter=None, tokens=2, seconds=0.25
    )
    assert room.conversation.turns() == [Turn("user", "What?"), Turn("assistant", "It is Paris")]


def test_an_empty_line_does_nothing(room: Room) -> None:
    assert room.do("", "  \n") == []


def test_a_slash_can_be_asked_about(room: Room) -> None:
    room.do("//usr/bin holds what?")
    assert room.client.shown[-1] == [Turn("user", "/usr/bin holds what?")]


def test_a_failing_model_is_an_error_and_nothing_is_stored(room: Room) -> None:
    room.client.refuses = "the chat process ended"
    assert room.refused("What?") == "the chat process ended"
    assert room.conversation.turns() == []


def test_the_built_in_base_is_asked_without_earlier_turns(room: Room) -> None:
    room.do("one?", "two?")
    assert room.client.shown[-1] == [Turn("user", "two?")]


def test_another_base_is_shown_the_conversation(make_room: Callable[..., Room]) -> None:
    room = make_room("/models/other")
    room.do("one?", "two?", "/good")
    turns = [Turn("user", "one?"), Turn("assistant", "ONE?"), Turn("user", "two?")]
    assert room.client.shown[-1] == turns
    assert room.feedback.get(1).turns == turns
    again = make_room("/models/other")
    again.do("three?")
    assert len(again.client.shown[-1]) == 5, "carried on after a restart"
    again.do("/new", "four?")
    assert again.client.shown[-1] == [Turn("user", "four?")]


def test_a_conversation_with_another_base_is_not_continued(
    room: Room, make_room: Callable[..., Room]
) -> None:
    room.do("one?")
    other = make_room("/models/other")
    other.session.start()
    assert "the last one used builtin" in other.notices()
    assert "type a question first" in other.refused("/good")
    other.do("two?")
    assert other.client.shown[-1] == [Turn("user", "two?")]
    again = make_room("/models/other")
    again.session.start()
    again.do("/good")
    assert again.feedback.get(1).base_model == "/models/other"


@pytest.mark.parametrize(("setting", "shown"), [(0, 1), (1, 1), (2, 3), (3, 3), (6, 5), (100, 5)])
def test_how_many_turns_are_shown_can_be_set(
    make_room: Callable[..., Room], setting: int, shown: int
) -> None:
    room = make_room(context_turns=setting)
    room.do("one?", "two?", "three?")
    assert len(room.client.shown[-1]) == shown


def test_settings_are_changed_kept_and_checked(room: Room) -> None:
    room.do("/set rank 8")
    assert room.session.settings.rank == load_settings().teaching.rank == 8
    assert room.trainer.wakes == 1
    assert "did you mean learning_rate?" in room.refused("/set lerning_rate 1")
    assert "at least 1" in room.refused("/set rank 0")
    assert "rank" in room.refused("/set rank many")
    assert "finite" in room.refused("/set alpha inf")
    assert room.session.settings.rank == 8
    room.do("/set target_modules all-linear", '/set target_modules ["q_proj"]', "/set rank default")
    assert room.session.settings.target_modules == ["q_proj"]
    assert load_settings().teaching.rank == TeachingSettings().rank


def test_settings_are_shown_with_what_they_do(room: Room) -> None:
    room.do("/set")
    shown = {row[0]: row[1:] for row in room.last(events.TextTable).rows}
    assert shown["auto_train_threshold"][0] == "10"
    assert all(description for _, description in shown.values())
    room.do("/set rank")
    assert [row[0] for row in room.last(events.TextTable).rows] == ["rank"]


def test_a_broken_configuration_is_not_changed(room: Room) -> None:
    paths.config_file().write_text("theme = [\n")
    assert "not valid TOML" in room.refused("/set rank 8")
    assert paths.config_file().read_text() == "theme = [\n"
    assert room.session.settings.rank == TeachingSettings().rank


def test_help_lists_every_command(room: Room) -> None:
    room.do("/help")
    table = room.last(events.TextTable)
    assert list(dict.fromkeys(row[0].split()[0] for row in table.rows)) == [
        f"/{name}" for name in COMMANDS
    ]
    room.do("/help fix /good")
    assert [row[0] for row in room.last(events.TextTable).rows] == ["/fix TEXT", "/good [NOTE]"]
    assert "did you mean /good" in room.refused("/help god")


def test_quit_ends_the_session(room: Room) -> None:
    assert not room.session.ended
    room.do("/quit")
    assert room.session.ended
    room.session.close()
    assert (room.trainer.closed, room.client.closed) == (1, 1)


def test_nothing_is_done_that_was_not_asked_about(room: Room) -> None:
    for line in ("/yes", "/no"):
        assert room.refused(line) == "there is nothing to confirm"


def test_a_cancel_reaches_the_model(room: Room) -> None:
    room.session.cancel()
    assert room.client.cancelled == 1


def test_the_input_history_leaves_secrets_out(room: Room, make_room: Callable[..., Room]) -> None:
    for line in ("one?", "my password is hunter2", "two?"):
        room.session.remember(line)
    assert make_room().session.history() == ["one?", "two?"]


def test_active_adapters_are_used_after_a_restart(make_room: Callable[..., Room]) -> None:
    room = make_room()
    room.add_adapter("mine")
    room.do("/adapters load mine")
    again = make_room()
    again.session.start()
    assert again.client.live == again.session.live == {"mine": 1.0}
    assert again.trainer.started == 1
    again.do("What?")
    assert again.last(events.Answered).adapter == "mine"
    assert again.adapters.list()[0].queries == 1


def test_a_live_adapter_that_broke_is_reported_once(make_room: Callable[..., Room]) -> None:
    room = make_room()
    folder = room.add_adapter("mine")
    room.do("/adapters load mine")
    (folder / adapter_files.WEIGHTS).write_bytes(b"")
    again = make_room()
    again.session.start()
    assert "adapter 'mine' was deactivated" in again.notices()
    third = make_room()
    third.session.start()
    assert third.notices() == ""


def test_a_live_adapter_that_the_model_refuses_leaves_the_base(
    make_room: Callable[..., Room],
) -> None:
    room = make_room()
    room.add_adapter("mine")
    room.do("/adapters load mine")
    again = make_room()
    again.client.refuses = "it was made for another base"
    again.session.start()
    assert "another base; no adapter is active" in again.notices()
    assert again.session.live == {}


def test_an_adapter_activated_by_another_session_is_used_next(
    room: Room, make_room: Callable[..., Room]
) -> None:
    room.add_adapter("mine")
    make_room().adapters.set_live({"mine": 1.0})
    room.do("What?")
    assert room.last(events.Answered).adapter == "mine"
    room.add_adapter("other")
    room.adapters.set_live({"other": 1.0})
    room.client.refuses = "no room"
    room.refused("What?")
    assert "no room; the active adapters are unchanged" in room.notices()
    room.client.refuses = None
    room.do("What?")
    assert room.last(events.Answered).adapter == "mine", "asked for in vain only once"
