"""The shipped questions, and questions of the same form about something else."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.teaching import measure
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.evaluation.answer_matching import question_key
from tui_trainer.teaching.retention.replay import split_held_out
from tui_trainer.teaching.retention.retained_questions import (
    SAME_FORM,
    other_subjects,
    own_questions,
    read,
    repeated_by_form,
)
from tui_trainer.teaching.training_rows import KnownAnswer


def test_there_are_some_hundreds_of_different_questions_of_many_kinds() -> None:
    questions = own_questions()
    assert len(questions) >= 300
    assert len({question_key(item.text) for item in questions}) == len(questions)
    assert sum(bool(item.facts) for item in questions) >= 150
    assert len({item.text.split()[0] for item in questions}) >= 20
    items = [KnownAnswer(turns=[Turn("user", q.text)], answer="", source="own") for q in questions]
    replayed, held_out = split_held_out(items)
    assert len(held_out) >= 40 and len(replayed) >= 200


def test_none_is_asked_by_the_benchmark() -> None:
    asked = {question_key(item.text) for item in read(measure.FACTS)}
    assert len(asked) >= 100
    assert not asked & {question_key(item.text) for item in own_questions()}


def test_lines_are_read_with_their_facts(tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_text("# a comment\nWhat is 2 + 2? | 4/four, even\n\nHello!\n", encoding="utf-8")
    assert [tuple(item) for item in read(file)] == [
        ("What is 2 + 2?", ["4/four", "even"]),
        ("Hello!", []),
    ]


def test_other_subjects_keep_the_form_of_a_question() -> None:
    question = "Who was the first keeper?"
    found = other_subjects(question)
    assert found == other_subjects(question), "always the same"
    assert len(found) == 2
    for text in found:
        assert text.startswith("Who was the ") and text.endswith("?")
        assert text != question
    assert other_subjects("Why?") == []
    assert other_subjects("one\ntwo") == []


def test_questions_in_the_form_of_a_corrected_one_come_more_often() -> None:
    counts = repeated_by_form(
        ["Who wrote Hamlet?", "Where is Rome?"], ["Who wrote our anthem?", "How many?"]
    )
    assert counts == [SAME_FORM, 1]
