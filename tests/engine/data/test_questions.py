"""Rows without their answers: what a model is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.questions import read_questions
from tui_trainer.engine.data.rows import Message


def written(folder: Path, name: str, *rows: Any) -> Path:
    file = folder / name
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ({"question": "Q", "answer": "A"}, ("user: Q",)),
        ({"question": "Q"}, ("user: Q",)),
        ({"prompt": "Q", "completion": None}, ("user: Q",)),
        ({"query": "Q", "response": "A"}, ("user: Q",)),
        ({"instruction": "Do", "input": "this", "output": "A"}, ("user: Do\n\nthis",)),
        ({"instruction": "Do", "input": ""}, ("user: Do",)),
        ({"text": "T"}, ("user: T",)),
        ({"text": "T", "question": None}, ("user: T",)),
        ({"question": "Q", "label": 0}, ("user: Q",)),
        ({"question": "Q", "system": "S"}, ("system: S", "user: Q")),
        (
            {"question": "Q", "history": [["q", "a"]]},
            ("user: q", "assistant: a", "user: Q"),
        ),
        (
            {
                "messages": [
                    {"role": "system", "content": "S"},
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                    {"role": "user", "content": "Q"},
                    {"role": "assistant", "content": ""},
                ]
            },
            ("system: S", "user: q", "assistant: a", "user: Q"),
        ),
    ],
)
def test_a_row_of_training_is_asked_without_its_answer(
    tmp_path: Path, row: dict[str, Any], turns: tuple[str, ...]
) -> None:
    (found,) = read_questions(written(tmp_path, "rows.jsonl", row), "causal-lm")
    assert found.error is None
    assert tuple(f"{turn.role}: {turn.content}" for turn in found.turns) == turns


def test_a_bad_row_has_an_error_and_takes_no_other_with_it(tmp_path: Path) -> None:
    file = written(
        tmp_path, "rows.jsonl", {"text": "a"}, {"text": " "}, "not json", {"label": 1}, "[1]", "",
        {"text": {"a": 1}}, {"text": "b"},
    )  # fmt: skip
    found = list(read_questions(file, "classification"))
    assert [each.row for each in found] == [1, 2, 3, 4, 5, 7, 8]
    assert [each.text() for each in found if each.error is None] == ["a", "b"]
    errors = [each.error or "" for each in found if each.error is not None]
    assert [error.partition(" ")[2][0] for error in errors] == ["2", "3", "4", "5", "7"]
    assert "the field 'text' (found: label)" in errors[2]


def test_a_conversation_that_cannot_be_asked_has_an_error(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "assistant", "content": "a"}]},
        {"messages": "text"},
        {"messages": [{"role": "user", "content": ""}]},
        {"question": "Q", "tools": [{"label": "search"}]},
        {"title": "unknown"},
    ]
    found = list(read_questions(written(tmp_path, "rows.jsonl", *rows), "causal-lm"))
    assert all(each.error and each.error.startswith("line ") for each in found)


def test_bytes_that_are_not_utf_8_spoil_their_row_alone(tmp_path: Path) -> None:
    table, lines, objects = (tmp_path / name for name in ("a.csv", "b.txt", "c.jsonl"))
    table.write_bytes(b"text,label\nfine,1\n\xff\xfe,2\ngood,3\n")
    lines.write_bytes(b"fine\n\xff\xfe\ngood\n")
    objects.write_bytes(b'{"text":"fine"}\n{"text":"\xff"}\n{"text":"good"}\n')
    for file in (table, lines, objects):
        found = list(read_questions(file, "classification"))
        assert [each.text() for each in found if each.error is None] == ["fine", "good"], file
        assert [bool(each.error) for each in found] == [False, True, False]


def test_other_files_have_a_text_or_an_object_in_each_line(tmp_path: Path) -> None:
    plain = list(read_questions(written(tmp_path, "stdin", "one", "", "{two}"), "causal-lm"))
    assert [each.turns for each in plain if each.error is None] == [
        (Message("user", "one"),),
        (Message("user", "{two}"),),
    ]
    assert plain[1].error == "line 2: empty"
    objects = written(tmp_path, "stdin", "", {"question": "Q"})
    assert [each.text() for each in read_questions(objects, "causal-lm")] == ["Q"]
    for content in ('\ufeff{"question": "Q"}\n', '[{"question": "Q"}]'):
        objects.write_text(content, encoding="utf-8")
        assert [each.text() for each in read_questions(objects, "causal-lm")] == ["Q"]


def test_a_file_that_cannot_be_read_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        list(read_questions(tmp_path / "gone", "classification"))


def test_quotation_marks_that_do_not_match_spoil_their_row_alone(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f'text\nfine\n"a "b" c"\n{"x" * 200_000}\ngood\n')
    found = list(read_questions(file, "classification"))
    assert [each.text() for each in found if not each.error] == ["fine", "x" * 200_000, "good"]
    assert [each.error for each in found if each.error] == [
        "line 3: quotation marks that do not match: ',' expected after '\"'"
    ]
