"""`/feedback export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.repl.conftest import Room


def test_feedback_is_exported_as_training_data(room: Room, tmp_path: Path) -> None:
    room.do("What?", "/critical", "/fix that", "Who?", "/good")
    file = tmp_path / "some rows.jsonl"
    room.do(f'/feedback export "{file}"')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["messages"][-1]["content"] for row in rows] == ["that", "WHO?"]
    assert f"2 rows of 2 rated answers written to {file}" in room.notices()

    pairs = tmp_path / "pairs.jsonl"
    room.do(f"/feedback export '{pairs}' --format dpo")
    [pair] = [json.loads(line) for line in pairs.read_text().splitlines()]
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("that", "WHAT?")
    room.do(f"/feedback export --format=kto '{tmp_path / 'labels.jsonl'}'")
    assert "3 rows" in room.notices()


def test_a_wrong_export_says_what_is_wrong(room: Room, tmp_path: Path) -> None:
    assert "usage: " in room.refused("/feedback export")
    assert "usage: " in room.refused("/feedback export a b")
    assert "usage: " in room.refused("/feedback export --format dpo")
    assert "no feedback to write" in room.refused(f"/feedback export '{tmp_path / 'a.jsonl'}'")
    room.do("What?", "/good")
    text = room.refused(f"/feedback export '{tmp_path / 'a.csv'}' --format csv")
    assert "unknown format 'csv'; use one of: jsonl, dpo, kto" in text
