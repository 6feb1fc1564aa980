"""A look at data: what it counts, which rows it shows, and what is marked in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.contracts.data_inspection import DataInspection, InspectionRequest
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import DataSettings, Job
from tui_trainer.engine.preflight import __main__ as program
from tui_trainer.engine.preflight import inspect_data as module
from tui_trainer.engine.preflight.inspect_data import inspect_data


@pytest.fixture
def look(tiny_base: Path, tmp_path: Path) -> Any:
    """Writes rows and looks at them: `look(rows, request={...}, task=..., max_length=...)`."""

    def looked(
        rows: list[dict[str, Any]],
        request: dict[str, Any] | None = None,
        task: str = "causal-lm",
        **settings: Any,
    ) -> DataInspection:
        file = tmp_path / "t.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = DataSettings(train=str(file), cache=False, **settings)
        job = Job(model=str(tiny_base), data=data, task=task)  # type: ignore[arg-type]
        return inspect_data(InspectionRequest(job=job, **(request or {})), lambda _: None)

    return looked


def rows(count: int) -> list[dict[str, Any]]:
    return [{"question": f"what is {i}?", "answer": f"it is {i * i} and {i}"} for i in range(count)]


def test_pieces_are_the_text_and_show_what_is_learned(look: Any) -> None:
    question, answer = "wie heißt das? 猫 ", "это кот 🐈‍⬛"
    found = look([{"question": question, "answer": answer, "weight": 2}], {"rows": 1})
    (row,) = found.rows
    text = "".join(piece.text for piece in row.pieces)
    learned = "".join(piece.text for piece in row.pieces if piece.learned)
    assert question.strip() in text and answer in learned and question.strip() not in learned
    assert sum(piece.tokens for piece in row.pieces) == row.tokens == row.full_tokens
    assert sum(piece.tokens for piece in row.pieces if piece.learned) == row.learned
    assert any(piece.special and piece.learned for piece in row.pieces)
    assert (row.where, row.chosen, row.part) == ("t.jsonl line 1", "first", "training")
    assert row.weight == 2


def test_rows_are_the_first_the_longest_and_random_ones_by_the_seed(look: Any) -> None:
    data = rows(40)
    data[17]["answer"] += " and so on" * 5
    found = look(data, {"rows": 6})
    assert [row.chosen for row in found.rows] == ["first", "longest", *["random"] * 4]
    assert [row.where for row in found.rows][:2] == ["t.jsonl line 1", "t.jsonl line 18"]
    assert len({row.where for row in found.rows}) == 6
    assert look(data, {"rows": 6}).rows == found.rows
    assert len(look(rows(2), {"rows": 9}).rows) == 2
    assert look(data, {"rows": 0}).rows == []


def test_lengths_are_those_before_cutting(look: Any) -> None:
    data = rows(20)
    data[4]["answer"] += " and so on" * 20
    data[9]["question"] += " really" * 60
    whole = look(data, {"rows": 2})
    limit = whole.median + 8
    found = look(data, {"rows": 2}, max_length=limit)
    assert (found.longest, found.median) == (whole.longest, whole.median)
    assert sum(one.examples for one in found.lengths) == 20
    assert found.too_long == 2 and any(one.last == limit for one in found.lengths)
    assert [row.where for row in found.unanswered] == ["t.jsonl line 10"]
    assert found.report.train.examples == 19
    asked = look(data, {"row": 5}, max_length=limit).rows
    assert [(row.where, row.chosen, row.tokens) for row in asked] == [
        ("t.jsonl line 5", "asked", limit)
    ]
    assert asked[0].full_tokens > limit


def test_a_row_that_is_asked_for_and_not_used_has_its_reason(look: Any) -> None:
    data = [*rows(3), {"question": "", "answer": "b"}]
    data[1]["question"] += " really" * 90
    with pytest.raises(UserError, match=r"t.jsonl line 4 is left out: empty"):
        look(data, {"row": 4})
    with pytest.raises(UserError, match=r"t.jsonl line 2 has .* keeps no answer"):
        look(data, {"row": 2}, max_length=40)
    with pytest.raises(UserError, match="no example comes from a row with the number 99"):
        look(data, {"row": 99})


def test_labels_and_weights_of_a_classification(look: Any) -> None:
    data = [{"text": f"text {i}", "label": "a" if i % 4 else "b"} for i in range(12)]
    for balance in ("weight", "oversample", "none"):
        found = look(data, {"rows": 12, "find_task": True}, balance=balance)
        assert found.task == "classification"
        assert {label.label: label.train for label in found.report.labels} == {"a": 9, "b": 3}
        assert sum(one.examples for one in found.lengths) == 12
        assert {row.label for row in found.rows} == {"a", "b"} and len(found.rows) == 12
        assert all(row.where for row in found.rows)
        assert not any(piece.learned for row in found.rows for piece in row.pieces)


def test_the_task_of_a_file_is_found_by_its_fields(look: Any) -> None:
    assert look([{"text": "one", "label": None}] * 2, {"find_task": True}).task == "causal-lm"
    assert look(rows(2), {"find_task": True}).task == "causal-lm"


def test_the_middle_of_a_very_long_row_is_left_out(
    look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_PIECE_TOKENS", 8)
    (row,) = look([{"question": "what?", "answer": "word " * 30}], {"rows": 1}).rows
    assert row.omitted == row.tokens - 8 and sum(piece.tokens for piece in row.pieces) == 8
    assert sum(piece.tokens for piece in row.pieces[: row.omitted_at]) == 6


def test_held_out_rows_are_found_and_named(look: Any) -> None:
    found = look(rows(20), {"row": 7}, val_split=0.5)
    assert found.report.validation.examples == 10
    parts = {look(rows(20), {"row": number}, val_split=0.5).rows[0].part for number in range(1, 21)}
    assert parts == {"training", "validation"}


def test_the_program_writes_progress_and_the_result(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Any
) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"question": "a", "answer": "b"}\n')
    job = Job(model=str(tiny_base), data=DataSettings(train=str(file), cache=False))
    request = tmp_path / "request.json"
    request.write_bytes(msgspec.json.encode(InspectionRequest(job=job)))
    with request.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert program.main(["data"]) == 0
    first, *_, last = capfdbinary.readouterr().out.splitlines()
    assert json.loads(first)["type"] == "progress"
    assert msgspec.json.decode(last, type=DataInspection).report.train.examples == 1


def test_a_data_set_of_the_hub_that_cannot_be_read_is_one_sentence(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size in bytes is not known beforehand, which is no error of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    job = Job(model=str(tiny_base), data=DataSettings(train="hub:nobody/nothing", cache=False))
    with pytest.raises(UserError, match="nobody/nothing"):
        inspect_data(InspectionRequest(job=job), lambda _: None)
