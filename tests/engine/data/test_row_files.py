"""Every file format gives the same rows, also several files together; bad files are reported."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data import row_formats
from tui_trainer.engine.data.rows import ReadRows
from tui_trainer.store import job_checks, jobs
from tui_trainer.store.runs.run_folder import RunFolder

QUESTIONS: list[dict[str, Any]] = [
    {
        "question": f"what is {i}?",
        "answer": f'the cat {i}, and\n"more"',
        "weight": float(i % 3 + 1),
    }
    for i in range(12)
]
TALKS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": f"one {i}?"},
            {"role": "assistant", "content": "first", "weight": 0},
            {"role": "user", "content": "two?"},
            {"role": "assistant", "content": "second", "weight": None},
        ]
    }
    for i in range(5)
]


def write(file: Path, values: list[dict[str, Any]]) -> Path:
    if file.suffix == ".parquet":
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(values), file, row_group_size=5)
    elif file.suffix == ".csv":
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(values[0]))
            writer.writeheader()
            writer.writerows(values)
    elif file.suffix == ".json":
        file.write_text(json.dumps(values))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in values))
    return file


def plain(found: ReadRows) -> list[tuple[Any, ...]]:
    return [(row.messages, row.text, row.weight, row.label) for row in found.found]


@pytest.mark.parametrize("suffix", [".json", ".csv", ".parquet"])
def test_every_file_format_gives_the_same_rows(suffix: str, tmp_path: Path) -> None:
    wanted = row_formats.read_rows([write(tmp_path / "t.jsonl", QUESTIONS)])
    found = row_formats.read_rows([write(tmp_path / f"t{suffix}", QUESTIONS)])
    assert plain(found) == plain(wanted) and found.found[4].weight == 2.0
    labelled: list[dict[str, Any]] = [{"text": f"the cat {i}", "category": i % 3} for i in range(7)]
    same = [
        plain(row_formats.read_rows([write(tmp_path / f"l{kind}", labelled)], labelled=True))
        for kind in (".jsonl", suffix)
    ]
    assert same[0] == same[1] and same[0][2][3] == "2"


def test_conversations_in_a_parquet_table_keep_their_masks(tmp_path: Path) -> None:
    wanted = row_formats.read_rows([write(tmp_path / "t.jsonl", TALKS)])
    found = row_formats.read_rows([write(tmp_path / "t.parquet", TALKS)])
    assert plain(found) == plain(wanted)
    assert [turn.learned for turn in found.found[0].messages] == [False, False, False, True]
    assert found.found[3].where == "t.parquet row 4"


def test_empty_columns_of_a_table_with_several_row_formats_are_ignored(tmp_path: Path) -> None:
    mixed: list[dict[str, Any]] = [
        {"text": "all of it", "question": None, "answer": None, "prompt": None, "completion": None},
        {"text": None, "question": "q", "answer": "a", "prompt": None, "completion": None},
        {"text": None, "question": None, "answer": None, "prompt": "p", "completion": "c"},
        {"text": None, "question": None, "answer": None, "prompt": None, "completion": None},
    ]
    found = row_formats.read_rows([write(tmp_path / "t.parquet", mixed)])
    assert [row.content() for row in found.found] == [
        "all of it", "user: q\nassistant: a", "user: p\nassistant: c",
    ]  # fmt: skip
    assert found.empty == 1
    both: list[dict[str, Any]] = [
        {"text": "a", "label": None, "category": "x"},
        {"text": "b", "label": "y", "category": None},
    ]
    file = write(tmp_path / "b.parquet", both)
    assert [row.label for row in row_formats.read_rows([file], labelled=True).found] == ["x", "y"]


def test_a_list_of_files_of_all_kinds_trains(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], tmp_path: Path
) -> None:
    parts = {".jsonl": QUESTIONS[:3], ".json": QUESTIONS[3:6], ".csv": QUESTIONS[6:9]}
    files = [str(write(tmp_path / f"p{kind}", part)) for kind, part in parts.items()]
    files.append(str(write(tmp_path / "p.parquet", QUESTIONS[9:])))
    training = {"max_steps": 2, "eval_every": 0, "checkpoint_every": 0}
    folder = make_run(data={"train": files}, training=training)
    assert run_engine(folder) == 0
    report, info = folder.data(), folder.info()
    assert report is not None and info is not None
    assert report.train.examples + report.validation.examples == 12
    assert len(info.data_files) == 4


def test_a_broken_table_is_reported_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    file = tmp_path / "t.parquet"
    file.write_bytes(b"PAR1 no table")
    with pytest.raises(UserError, match=r"t\.parquet cannot be read as Parquet: .+"):
        row_formats.read_rows([file])


def test_without_pyarrow_the_job_is_refused_before_anything_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "t.parquet"
    file.write_bytes(b"PAR1")
    job = jobs.check_job({"data": {"train": str(file)}}, tmp_path, "test")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (finding,) = [found for found in job_checks.check(job) if found.level == "error"]
    assert finding.message == (
        't.parquet: reading Parquet needs pyarrow: pip install "tui-trainer[parquet]"'
    )
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError) as caught:
        row_formats.read_rows([file])
    assert str(caught.value) == finding.message
