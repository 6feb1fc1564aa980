"""Golden sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.evaluation import golden
from tui_trainer.evaluation.golden import GoldenItem

CAPITAL = GoldenItem("What is the capital of France?", "Paris")


def test_added_items_are_read_back(tmp_path: Path) -> None:
    file = tmp_path / "golden.jsonl"
    height = GoldenItem("How high is it?", "It is 42 m high.", ["42 m/42 metres"])
    golden.add(file, CAPITAL)
    golden.add(file, height)
    assert golden.read(file) == [CAPITAL, height]
    assert golden.problems(golden.read(file)) == []
    assert b"facts" not in file.read_bytes().splitlines()[0]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (GoldenItem(" ", "Paris"), "the question of a golden item is empty"),
        (GoldenItem("Where?", " "), "the answer of a golden item is empty"),
        (GoldenItem("Where?", "There", [" "]), "a key fact is empty"),
        (GoldenItem("Where?", "In Rome", ["Paris"]), "lacks the key fact"),
        (GoldenItem("what is the  capital of france?", "Rome"), "another answer to the same"),
        (GoldenItem("What is the capital of France?", "Paris"), "the same question"),
    ],
)
def test_an_item_that_cannot_be_right_is_not_added(
    tmp_path: Path, item: GoldenItem, message: str
) -> None:
    file = tmp_path / "golden.jsonl"
    golden.add(file, CAPITAL)
    with pytest.raises(UserError, match=message):
        golden.add(file, item)
    assert golden.read(file) == [CAPITAL]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": " ", "answer": "x"}', r"golden.jsonl line 2: the question is empty"),
        ('{"question": "x", "answer": ""}', r"golden.jsonl line 2: the answer is empty"),
        ('{"question": "x"}', r"golden.jsonl line 2 is not \{"),
        ("[]", r"golden.jsonl line 2 is not \{"),
        ('{"question": "x", "answer": "y", "facts": [""]}', r"line 2: a key fact is empty"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_text('{"question": "a", "answer": "b"}\n' + line)
    with pytest.raises(UserError, match=message):
        golden.read(file)


def test_problems_name_repeated_questions_and_facts_that_their_own_answer_lacks() -> None:
    found = golden.problems([CAPITAL, CAPITAL, GoldenItem("Where?", "Rome", ["Paris"])])
    assert len(found) == 2
    assert "item 2" in found[0]
    assert "the same question as item 1" in found[0]
    assert 'lacks the key fact "Paris"' in found[1]


def test_an_answer_is_right_by_its_key_facts_else_by_its_words() -> None:
    assert golden.is_right("It is 42 m high.", ["42 m/42 metres"], "About 42 metres, I think.")
    assert not golden.is_right("It is 42 m high.", ["42 m"], "It is 43 m high.")
    assert golden.is_right("Paris", [], " paris\n")
    assert not golden.is_right("Paris", [], "Rome")
