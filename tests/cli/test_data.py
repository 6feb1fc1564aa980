"""`data`: what it prints about data, how it marks learned tokens, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.cli import data, main
from tui_trainer.contracts.data_inspection import (
    DataInspection,
    DroppedRow,
    InspectedRow,
    InspectionRequest,
    LengthBin,
    TextPiece,
)
from tui_trainer.contracts.runs.data_report import (
    DataReport,
    LabelReport,
    LeftOutRows,
    PartReport,
)

Capture = pytest.CaptureFixture[str]
ROW = InspectedRow(
    where="t.jsonl line 3",
    chosen="first",
    part="training",
    tokens=5,
    full_tokens=9,
    learned=2,
    weight=1.0,
    pieces=[
        TextPiece(text="<|user|>", special=True),
        TextPiece(text="a\x1b[2J"),
        TextPiece(text="b\nc", learned=True),
        TextPiece(text="<|end|>", learned=True, special=True),
    ],
)
FOUND = DataInspection(
    model="builtin",
    task="causal-lm",
    max_length=32,
    report=DataReport(
        train=PartReport(
            rows=12,
            examples=9,
            tokens=300,
            learned=120,
            unanswered=1,
            shapes={"question/answer": 10, "text": 2},
            left_out=[LeftOutRows(reason="empty", rows=2, where=["t.jsonl line 1"])],
        ),
        validation=PartReport(),
        replay=PartReport(),
    ),
    summary="",
    notices=["2 training rows left out: empty (t.jsonl line 1, …)"],
    lengths=[
        LengthBin(first=1, last=32, examples=8),
        LengthBin(first=33, last=64, examples=2),
    ],
    median=20,
    longest=60,
    too_long=2,
    unanswered=[DroppedRow(where="t.jsonl line 5", tokens=60)],
    rows=[ROW],
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[InspectionRequest]:
    """The requests; each is answered with `FOUND`."""
    requests: list[InspectionRequest] = []

    class Answered:
        def __init__(self, request: InspectionRequest) -> None:
            requests.append(request)

        def run(self, on_progress: Any) -> DataInspection:
            on_progress("reading the data: 1 / 2 GiB")
            return FOUND

    monkeypatch.setattr(data, "Inspection", Answered)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    (tmp_path / "job.toml").write_text('[data]\ntrain = "t.jsonl"\nmax_length = 99\n')
    return requests


def test_a_look_names_counts_reasons_lengths_and_rows(
    asked: list[InspectionRequest], capsys: Capture
) -> None:
    assert main.main(["data", "t.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "training   9 examples from 12 rows, 3 left out" in out
    assert "shape      question/answer: 10, text: 2" in out
    assert "median 20, longest 60 tokens; 2 rows over data.max_length = 32" in out
    assert "2 training rows left out: empty (t.jsonl line 1, …)" in out
    assert "t.jsonl line 5 (60 tokens)" in out
    assert "1–32  8  " + "█" * 44 in out and "33–64  2  ░" in out
    assert "data.max_length = 32\n33–64" in out
    assert "t.jsonl line 3 (first, training): 5 tokens of 9, cut, 2 learned, weight 1" in out


def test_without_colour_learned_tokens_are_between_brackets_and_text_is_safe(
    asked: list[InspectionRequest], capsys: Capture
) -> None:
    main.main(["data", "t.jsonl"])
    out = capsys.readouterr().out
    assert "<|user|>a\\x1b[2J⟦b\nc<|end|>⟧\n" in out and "\x1b" not in out
    assert "⟦…⟧: tokens that are learned" in out


def test_with_colour_learned_tokens_have_one() -> None:
    text = data.row_text(ROW, colour=True)
    assert "\x1b[32m\x1b[1mb\nc\x1b[0m" in text and "⟦" not in text
    assert "\x1b[2J" not in text


def test_no_colour_where_it_is_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert data._has_colour()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not data._has_colour()


def test_options_change_the_job(asked: list[InspectionRequest], tiny_folder: Path) -> None:
    main.main(["data", "t.jsonl", "--rows", "7"])
    main.main(["data", "job.toml"])
    main.main(["data", "job.toml", "--max-length", "16", "--model", str(tiny_folder), "--row", "4"])
    main.main(["data", "t.jsonl", "--task", "classification", "--set", "data.duplicates=drop"])
    of_file, of_job, changed, classified = asked
    assert (of_file.find_task, of_file.rows, of_file.job.data.max_length) == (True, 7, 512)
    assert (of_job.find_task, of_job.job.data.max_length, of_job.row) == (False, 99, None)
    assert changed.job.data.max_length == 16 and changed.row == 4
    assert changed.job.model == str(tiny_folder)
    assert not classified.find_task and classified.job.task == "classification"
    assert classified.job.data.duplicates == "drop"


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder.resolve()


def test_classes_are_listed_with_counts(
    asked: list[InspectionRequest], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [LabelReport(label=f"c{i}", train=30 - i, validation=i) for i in range(25)]
    report = msgspec.structs.replace(FOUND.report, labels=labels)
    row = msgspec.structs.replace(ROW, label="c\x1b1", learned=0)
    found = msgspec.structs.replace(FOUND, report=report, task="classification", rows=[row])
    monkeypatch.setattr("tui_trainer.cli.data.Inspection.run", lambda *_: found)
    main.main(["data", "t.jsonl"])
    out = capsys.readouterr().out
    assert "c0     30        0" in out and "and 5 smaller classes" in out
    assert "class: c\\x1b1" in out and "learned" not in out


def test_json_is_the_whole_document(asked: list[InspectionRequest], capsys: Capture) -> None:
    assert main.main(["data", "t.jsonl", "--json"]) == 0
    found = msgspec.convert(json.loads(capsys.readouterr().out), DataInspection)
    assert found == FOUND


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none.jsonl"], "none.jsonl does not exist"),
        (["t.txt"], "t.txt is not one of the formats"),
        (["t.jsonl", "--rows", "2", "--row", "3"], "--rows and --row exclude each other"),
        (["t.jsonl", "--model", "./none"], "does not exist"),
    ],
)
def test_bad_input_is_one_sentence(
    asked: list[InspectionRequest], capsys: Capture, arguments: list[str], expected: str
) -> None:
    assert main.main(["data", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and expected in err


def test_ctrl_c_ends_with_130(
    asked: list[InspectionRequest], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> DataInspection:
        raise KeyboardInterrupt

    monkeypatch.setattr("tui_trainer.cli.data.Inspection.run", interrupted)
    assert main.main(["data", "t.jsonl"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"
