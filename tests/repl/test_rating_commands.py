"""Ratings and corrections: a right answer is taught, a bad one never."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.teaching.feedback import Turn

if TYPE_CHECKING:
    from tests.repl.conftest import Room

QUESTION = "What is the capital of France?"


def test_a_good_answer_is_taught_itself(room: Room) -> None:
    room.client.says = ["Paris"]
    room.do(QUESTION, "/good that is it")
    rated = room.last(events.Rated)
    assert (rated.rating, rated.weight, rated.taught, rated.number) == ("good", 1.0, "Paris", 1)
    [example] = room.feedback.pending()
    assert (example.question, example.note, example.base_hash) == (QUESTION, "that is it", "abc")
    assert room.trainer.wakes == 1
    assert room.last(events.BufferStatus).count == 1


@pytest.mark.parametrize(("rating", "weight"), [("medium", 3.0), ("critical", 10.0)])
def test_a_bad_answer_waits_for_the_right_one(room: Room, rating: str, weight: float) -> None:
    room.client.says = ["Rome"]
    room.do(QUESTION, f"/{rating} no")
    needs = room.last(events.NeedsCorrection)
    assert (needs.question, needs.answer) == (QUESTION, "Rome")
    assert room.feedback.pending() == []
    assert room.last(events.BufferStatus).needs_correction == 1
    room.do("/fix  Paris, of course ")
    rated = room.last(events.Rated)
    assert (rated.taught, rated.weight, rated.replaced) == (" Paris, of course ", weight, True)
    [example] = room.feedback.pending()
    assert (example.answer, example.note) == ("Rome", "no")


def test_a_fix_without_a_rating_counts_as_medium(room: Room) -> None:
    room.do(QUESTION, "/fix Paris")
    assert room.last(events.Rated).rating == "medium"
    assert [e.right_answer for e in room.feedback.pending()] == ["Paris"]


def test_rating_again_replaces_the_rating(room: Room) -> None:
    room.client.says = ["Paris"]
    room.do(QUESTION, "/good", "/critical wrong after all")
    assert room.feedback.pending() == []
    assert len(room.feedback.examples()) == 1
    room.do("/fix Lyon", "/medium")
    assert room.last(events.Rated).taught == "Lyon"
    room.do("/good")
    assert room.last(events.Rated).taught == "Paris", "the answer itself is right after all"
    room.do("/fix Lyon")
    assert room.last(events.Rated).rating == "medium"


def test_each_answer_has_its_own_rating(room: Room) -> None:
    room.do("one?", "/good", "two?", "/fix TWO")
    assert [(e.question, e.rating) for e in room.feedback.examples()] == [
        ("one?", "good"),
        ("two?", "medium"),
    ]


def test_a_dropped_rating_is_not_edited(room: Room) -> None:
    room.do(QUESTION, "/good", "/feedback drop 1", "/fix Paris")
    assert [e.dropped for e in room.feedback.examples()] == [True, False]


def test_the_last_answer_can_be_rated_after_a_restart(
    room: Room, make_room: Callable[..., Room]
) -> None:
    room.do(QUESTION, "/critical no")
    again = make_room()
    again.do("/fix Paris")
    assert len(again.feedback.examples()) == 1
    assert again.feedback.pending()[0].rating == "critical"


def test_there_must_be_an_answer(room: Room) -> None:
    for line in ("/good", "/medium x", "/fix Paris", "/edit", "/revise why"):
        assert "type a question first" in room.refused(line)
    assert room.refused("/fix") == room.refused("/fix   ")
    assert "needs a text" in room.refused("/fix")


def test_an_answer_that_was_cut_off_is_not_good(room: Room) -> None:
    room.client.cuts = True
    room.do(QUESTION)
    assert room.last(events.Answered).cancelled
    assert "cut off" in room.refused("/good")
    room.client.cuts, room.client.says = False, [" "]
    room.do(QUESTION)
    assert "cut off" in room.refused("/good")
    room.do("/fix Paris")
    assert room.feedback.pending()[0].right_answer == "Paris"


def test_a_possible_secret_is_held_back(room: Room) -> None:
    room.do("my password is hunter2", "/good")
    assert room.last(events.Flagged).found == ["password"]
    assert room.feedback.examples() == []
    assert room.trainer.wakes == 0
    room.do("/keep")
    [example] = room.feedback.examples()
    assert example.flags == ["password"]
    assert "no feedback is held back" in room.refused("/keep")


def test_a_secret_in_a_note_or_a_correction_is_found_too(room: Room) -> None:
    room.do(QUESTION, "/medium my password is hunter2")
    assert room.last(events.Flagged)
    room.do("/medium", "/fix password: hunter2")
    assert room.last(events.Flagged)
    assert room.feedback.examples()[0].correction is None
    room.do("/keep")
    example = room.feedback.examples()[0]
    assert (example.correction, example.flags) == ("password: hunter2", ["password"])


def test_held_back_feedback_is_discarded_with_the_next_answer(room: Room) -> None:
    room.do("my password is hunter2", "/good", QUESTION)
    assert "no feedback is held back" in room.refused("/keep")
    assert room.feedback.examples() == []


def test_an_editor_is_requested_and_its_text_stored(room: Room) -> None:
    room.client.says = ["Rome"]
    room.do(QUESTION, "/edit")
    request = room.last(events.EditRequest)
    assert (request.text, request.question, request.example) == ("Rome", QUESTION, None)
    assert room.session.edited(request, "Paris")
    assert room.feedback.pending()[0].right_answer == "Paris"
    room.do("other?", "/edit 1")
    request = room.last(events.EditRequest)
    assert request.text == "Paris"
    assert room.session.edited(request, "Lyon")
    assert room.feedback.get(1).right_answer == "Lyon"
    assert not room.session.edited(request, " ")
    assert "needs a text" in room.last(events.SessionError).text


def test_an_accepted_revision_is_the_right_answer(room: Room) -> None:
    room.client.says = ["Rome", "Paris"]
    room.do(QUESTION, "/critical it is Paris", "/revise")
    revision = room.last(events.Revision)
    assert (revision.before, revision.text) == ("Rome", "Paris")
    assert room.client.shown[-1] == [Turn("user", f"Note: it is Paris. {QUESTION}")]
    assert room.feedback.pending() == [], "not before the user accepts it"
    room.do("/accept")
    assert room.feedback.pending()[0].right_answer == "Paris"
    assert "no revised answer" in room.refused("/accept")


def test_another_base_revises_within_the_conversation(make_room: Callable[..., Room]) -> None:
    room = make_room("/models/other")
    room.client.says = ["Rome", "Paris"]
    room.do(QUESTION, "/revise wrong country")
    roles = [turn.role for turn in room.client.shown[-1]]
    assert roles == ["user", "assistant", "user"]
    assert "wrong country" in room.client.shown[-1][-1].content


def test_a_revision_can_be_rejected(room: Room) -> None:
    room.client.says = ["Rome", "Paris"]
    room.do(QUESTION, "/revise no", "/reject")
    assert room.feedback.examples() == []
    assert "no revised answer" in room.refused("/accept")
    assert "no revised answer" in room.refused("/reject")


def test_a_revision_needs_a_note_and_another_answer(room: Room) -> None:
    room.client.says = ["Rome", "Rome"]
    room.do(QUESTION)
    assert "give a note on what is wrong" in room.refused("/revise")
    assert "gave the same answer" in room.refused("/revise no")


def test_feedback_is_listed_shown_fixed_and_dropped(room: Room) -> None:
    room.do("/feedback")
    assert "no feedback yet" in room.notices()
    room.do("one?", "/medium a note", "two?", "/good", "/feedback list")
    table = room.last(events.TextTable)
    assert [row[:3] for row in table.rows] == [
        ["1", "medium", "needs a correction"],
        ["2", "good", "pending"],
    ]
    room.do("/feedback fix 1  A right  answer")
    assert room.feedback.get(1).right_answer == " A right  answer"
    room.do("/feedback show 1")
    assert ["note", "a note"] in room.last(events.TextTable).rows
    room.do("/feedback drop 2", "/feedback")
    assert [row[0] for row in room.last(events.TextTable).rows] == ["1"]
    assert "a number from 1 to 2" in room.refused("/feedback drop 7")
    assert "is dropped" in room.refused("/feedback drop 2")
    assert "usage: " in room.refused("/feedback drop")
    assert "usage: " in room.refused("/feedback lst")
    room.do("/feedback purge")
    assert room.last(events.Confirm)
    room.do("/yes")
    assert "1 dropped example is deleted from the disk" in room.notices()
    assert len(room.feedback.examples()) == 1
    room.do("/feedback purge")
    assert "no dropped feedback" in room.refused("/yes")


def test_unreadable_feedback_is_counted(room: Room) -> None:
    room.do("one?", "/good")
    with room.feedback.file.open("ab") as file:
        file.write(b"nonsense\n")
    room.do("/feedback")
    assert "1 unreadable line, not listed here; the first is line 2" in room.notices()
