"""Feedback as training data: three formats, and what has no row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample, Rating, Turn
from tui_trainer.store.feedback.feedback_export import export_feedback


def example(
    question: str,
    answer: str,
    right: str | None = None,
    rating: Rating = "medium",
    *,
    dropped: bool = False,
) -> RatedExample:
    turns = [Turn("system", "Be brief."), Turn("user", question)]
    return RatedExample(
        id=question,
        time=0.0,
        turns=turns,
        answer=answer,
        rating=rating,
        correction=right,
        dropped=dropped,
    )


EXAMPLES = [
    example("Who?", "Bob", "Ana", "critical"),
    example("When?", "at noon", rating="good"),
    example("Where?", "nowhere"),
    example("Why?", "because", "so", dropped=True),
]


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def prompt(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_jsonl_holds_right_answers_with_their_weights(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    result = export_feedback(EXAMPLES, file)
    assert rows(file) == [
        {"messages": prompt("Who?") + said("Ana"), "weight": 10.0},
        {"messages": prompt("When?") + said("at noon"), "weight": 1.0},
    ]
    assert (result.rows, result.examples) == (2, 2)
    assert result.left_out == {"without a right answer": 1, "dropped": 1}
    assert result.text() == (
        f"2 rows of 2 rated answers written to {file.resolve()}, 1 left out (without a right "
        "answer), 1 left out (dropped)"
    )


def test_dpo_pairs_a_right_answer_with_the_wrong_one(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    result = export_feedback(EXAMPLES, file, "dpo")
    assert rows(file) == [
        {"prompt": prompt("Who?"), "chosen": said("Ana"), "rejected": said("Bob")}
    ]
    assert sum(result.left_out.values()) == 3


def test_kto_labels_every_answer(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    export_feedback(EXAMPLES, file, "kto")
    assert [(row["completion"][0]["content"], row["label"]) for row in rows(file)] == [
        ("Ana", True),
        ("Bob", False),
        ("at noon", True),
        ("nowhere", False),
    ]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with pytest.raises(UserError, match="unknown format 'csv'"):
        export_feedback(EXAMPLES, file, "csv")
    with pytest.raises(UserError, match="no feedback to write as dpo: 1 without a wrong answer"):
        export_feedback(EXAMPLES[1:2], file, "dpo")
    assert not file.exists()
    file.write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        export_feedback(EXAMPLES, file)
    assert file.read_text() == "mine"
    with pytest.raises(UserError, match="cannot be written"):
        export_feedback(EXAMPLES, tmp_path / "absent" / "rows.jsonl")
