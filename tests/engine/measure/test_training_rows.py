"""Rows that are measured and are in the training data too are named and counted."""

from __future__ import annotations

import json
from pathlib import Path

from tui_trainer.engine.data.row_formats import read_rows
from tui_trainer.engine.data.rows import Row
from tui_trainer.engine.measure.training_rows import shared

LONG = "the lamp of the old lighthouse on the northern cliff was lit every evening by its keeper"


def rows(folder: Path, name: str, *questions: str) -> tuple[str, list[Row]]:
    file = folder / name
    lines = [json.dumps({"question": question, "answer": "yes"}) for question in questions]
    file.write_text("\n".join(lines) + "\n")
    return str(file), list(read_rows([file], labelled=False).found)


def test_the_same_row_is_named_whatever_its_white_space(tmp_path: Path) -> None:
    train, _ = rows(tmp_path, "train.jsonl", "is it  day?", "is it night?")
    _, test = rows(tmp_path, "test.jsonl", "is it dawn, or is it noon?", "is it day?")
    (found,) = shared(test, [train], labelled=False)
    assert found.startswith("1 row is in the training data too")
    assert found.endswith(": test.jsonl line 2")


def test_a_near_duplicate_is_counted_apart(tmp_path: Path) -> None:
    train, _ = rows(tmp_path, "train.jsonl", LONG)
    _, test = rows(tmp_path, "test.jsonl", LONG.upper() + "!", "what is a boat?")
    assert shared(test, [train], labelled=False) == [
        "1 near duplicate of rows of the training data: test.jsonl line 1"
    ]


def test_training_data_that_is_gone_is_said(tmp_path: Path) -> None:
    _, test = rows(tmp_path, "test.jsonl", "is it day?")
    (found,) = shared(test, [str(tmp_path / "gone.jsonl")], labelled=False)
    assert found.startswith("not compared with the rows of the training data: ")
    assert shared(test, [], labelled=False) == []
