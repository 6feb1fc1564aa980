"""/new, /retry and /system; sampling; what is said about an answer's end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.chat.sampling import BaseSampling, Finish
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.store.settings import load_settings

if TYPE_CHECKING:
    from tests.repl.conftest import Room

OTHER = "/models/other"
GREEDY = BaseSampling()


def test_retry_replaces_the_last_answer(make_room: Callable[..., Room]) -> None:
    room = make_room(OTHER)
    room.do("one?")
    room.client.says = ["first", "second"]
    room.do("two?", "/retry")
    turns = [
        Turn("user", "one?"), Turn("assistant", "ONE?"), Turn("user", "two?"),
        Turn("assistant", "second"),
    ]  # fmt: skip
    assert room.client.shown[-1] == room.client.shown[-2] == turns[:3]
    assert room.conversation.turns() == turns
    assert ConversationStore().turns() == turns, "also after a restart"
    answer = room.last(events.Answered)
    assert (answer.query, answer.response) == ("two?", "second")


def test_a_retry_draws_where_the_same_answer_would_come(make_room: Callable[..., Room]) -> None:
    room = make_room(OTHER)
    folder = room.add_adapter("north", base_model=OTHER)
    room.do("one?", "/retry")
    assert room.client.sampling[-2] == GREEDY
    assert room.client.sampling[-1].temperature > 0

    room.do(f"/adapters load {folder.name}", "/retry")
    assert room.client.sampling[-1] == GREEDY, "another adapter gives another answer"
    room.do("/retry")
    assert room.client.sampling[-1].temperature > 0

    room.client.cuts = True
    room.do("two?", "/retry")
    assert room.client.sampling[-1] == GREEDY, "a cancelled answer is completed"

    room.do("/set temperature 0.3", "/set repetition_penalty 1.2", "two?", "/retry")
    assert room.client.sampling[-1] == BaseSampling(temperature=0.3, repetition_penalty=1.2)


def test_the_rating_of_a_replaced_answer_stays_with_it(room: Room) -> None:
    room.client.says = ["first", "second"]
    room.do("one?", "/critical", "/retry")
    room.do("/fix third")
    assert [(e.answer, e.correction) for e in room.feedback.examples()] == [
        ("first", None), ("second", "third"),
    ]  # fmt: skip


def test_a_retry_that_fails_changes_nothing(room: Room) -> None:
    assert "there is no answer yet" in room.refused("/retry")
    room.do("one?")
    assert "usage: /retry" in room.refused("/retry now")
    room.client.refuses = "the chat process ended"
    assert room.refused("/retry") == "the chat process ended"
    assert room.conversation.turns() == [Turn("user", "one?"), Turn("assistant", "ONE?")]


@pytest.mark.parametrize("base", ["builtin", OTHER])
def test_a_system_prompt_comes_first(base: str, make_room: Callable[..., Room]) -> None:
    room = make_room(base)
    room.do("zero?", "/system Be brief.  And kind.", "one?")
    system = Turn("system", "Be brief.  And kind.")
    shown = room.client.shown[-1]
    assert [shown[0], shown[-1]] == [system, Turn("user", "one?")]
    assert len(shown) == (2 if base == "builtin" else 4)
    room.do("/fix yes", "/system")
    assert room.notices() == "system prompt: Be brief.  And kind."
    assert room.feedback.get(1).turns == shown

    again = make_room(base)
    again.do("/new")
    assert "with the same system prompt: Be brief." in again.notices()
    again.do("two?")
    assert again.client.shown[-1] == [system, Turn("user", "two?")]
    again.do("/system off", "three?")
    assert again.client.shown[-1][0] != system
    again.do("/system")
    assert again.notices() == "no system prompt; /system TEXT sets one"


def test_a_restart_says_that_a_conversation_is_continued(make_room: Callable[..., Room]) -> None:
    first = make_room(OTHER)
    first.session.start()
    assert first.notices() == ""
    first.do("one?", "two?")
    again = make_room(OTHER)
    again.session.start()
    assert "4 earlier turns go into the prompt; /new starts a new conversation" in again.notices()
    again.do("/new")
    third = make_room(OTHER)
    third.session.start()
    assert third.notices() == ""


def test_the_built_in_base_does_not_see_an_earlier_conversation(
    room: Room, make_room: Callable[..., Room]
) -> None:
    room.do("one?")
    again = make_room()
    again.session.start()
    assert again.notices() == ""


def test_answers_are_greedy_unless_set(make_room: Callable[..., Room]) -> None:
    room = make_room()
    base = BaseSampling(temperature=0.2, top_p=0.9, top_k=50, repetition_penalty=1.1)
    room.client.recommended = base
    room.session.start()
    room.do("one?")
    assert room.client.sampling[-1] == GREEDY
    room.do("/set sampling base", "one?")
    assert room.client.sampling[-1] == base
    room.do("/set temperature 0.7", "/set top_p 0.5", "one?")
    assert room.client.sampling[-1] == BaseSampling(
        temperature=0.7, top_p=0.5, top_k=50, repetition_penalty=1.1
    )
    assert load_settings().chat.temperature == 0.7
    room.do("/set temperature default", "/set top_p default", "/set sampling greedy", "one?")
    assert room.client.sampling[-1] == GREEDY
    assert load_settings().chat == type(load_settings().chat)()


def test_settings_of_chat_are_listed_and_checked(room: Room) -> None:
    room.do("/set")
    names = [row[0] for row in room.last(events.TextTable).rows]
    assert {"sampling", "temperature", "top_p", "repetition_penalty", "max_new_tokens"} <= {*names}
    room.do("/set top_p")
    [[_, value, _]] = room.last(events.TextTable).rows
    assert value == "automatic"
    assert "did you mean sampling?" in room.refused("/set samplng base")
    assert "top_p" in room.refused("/set top_p 2")
    assert room.refused("/set sampling loud")
    assert room.refused("/set temperature nan")


@pytest.mark.parametrize(
    ("finish", "words"),
    [
        ("end", ""),
        ("length", "stopped after 2 tokens; /set max_new_tokens N"),
        ("repetition", "stopped because it repeats itself; /retry asks again"),
    ],
)
def test_an_answer_that_was_stopped_gives_the_reason(
    finish: Finish, words: str, room: Room
) -> None:
    room.client.finish = finish
    room.do("one?")
    assert room.last(events.Answered).finish == finish
    assert words in room.notices()
    assert bool(words) == bool(room.notices())
    if finish == "repetition":
        assert "cut off" in room.refused("/good")


def test_turns_that_do_not_fit_are_reported_once(room: Room) -> None:
    room.do("one?")
    assert room.notices() == ""
    room.client.dropped_turns = 2
    room.do("two?")
    assert (
        "does not fit into the base's context of 64 tokens: the oldest 2 turns were left out"
        in room.notices()
    )
    room.do("three?")
    assert room.notices() == ""
    room.client.dropped_turns = 4
    room.do("four?")
    assert "the oldest 4 turns" in room.notices()
