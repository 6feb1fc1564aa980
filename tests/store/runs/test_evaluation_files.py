"""The reports of evaluations in a folder, and which of them an adapter takes along."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from tui_trainer.contracts.evaluation import EvaluatedItem, EvaluationReport, EvaluationScores
from tui_trainer.store import atomic
from tui_trainer.store.runs import evaluation_files


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(b"")
    os.utime(weights, (100.0, 100.0))
    return folder


def write(folder: Path, name: str, time: float, adapter: Path | None) -> None:
    folder.mkdir(exist_ok=True)
    scores = EvaluationScores(
        name=name, time=time, adapter=None if adapter is None else str(adapter), data_hash="d",
        rows=2, files=["test.jsonl"], metrics={"loss": 1.5, "bleu": None},
    )  # fmt: skip
    rows = {**msgspec.to_builtins(scores), "items": [{"question": "q"}]}
    atomic.write_json(folder / f"{name}.json", rows)


def test_the_newest_comes_first_and_other_files_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "evaluations"
    assert evaluation_files.read_scores(folder) == ()
    write(folder, "old", 1.0, None)
    write(folder, "new", 2.0, None)
    (folder / "other.json").write_text("[]")
    (folder / "notes.txt").write_text("")
    found = evaluation_files.read_scores(folder)
    assert [scores.name for scores in found] == ["new", "old"]
    assert found[0].metrics == {"loss": 1.5, "bleu": None}


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "evaluations"
    write(folder, "whole", 1.0, None)
    (folder / "torn.json").write_bytes((folder / "whole.json").read_bytes()[:40])
    found = evaluation_files.read_folder(folder)
    assert [scores.name for scores in found.scores] == ["whole"]
    assert found.unreadable == ("torn.json",)
    assert "evaluations/torn.json cannot" in evaluation_files.unreadable_text(found.unreadable)


def test_of_a_large_report_only_the_head_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = EvaluatedItem(where="l", question='\n  "items": [', reference="r" * 50, answer=None)
    report = EvaluationReport(
        name="large", time=1.0, target="t", model="m", adapter=None, task="causal-lm",
        files=["test.jsonl"], data_hash="d", rows=1000, metrics={"loss": 1.5},
        settings={"max_length": 64}, items=[row] * 1000,
    )  # fmt: skip
    file = tmp_path / "large.json"
    atomic.write_json(file, report)
    read: list[Path] = []

    def read_regular(path: Path) -> bytes:
        read.append(path)
        return path.read_bytes()

    monkeypatch.setattr(evaluation_files, "read_regular", read_regular)
    (found,) = evaluation_files.read_scores(tmp_path)
    assert (found.rows, found.metrics, found.settings) == (1000, {"loss": 1.5}, {"max_length": 64})
    assert read == []
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert evaluation_files.read_folder(tmp_path).unreadable == ("large.json",)
    assert read == [file]
    evaluation_files.read_folder(tmp_path)
    assert read == [file], "it is read again only when the file changes"
    file.write_bytes(msgspec.json.encode(report))  # by another program, without line breaks
    assert evaluation_files.read_scores(tmp_path) == (found,)


def test_only_reports_of_these_weights_are_copied(tmp_path: Path, adapter: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write(source, "same", 200.0, adapter)
    write(source, "before-the-weights-changed", 50.0, adapter)
    write(source, "of-a-checkpoint", 200.0, tmp_path / "step-1")
    write(source, "of-the-base", 200.0, None)
    evaluation_files.copy_measured(source, target, adapter)
    assert [file.name for file in target.iterdir()] == ["same.json"]
    assert (target / "same.json").read_bytes() == (source / "same.json").read_bytes()


def test_nothing_to_copy_makes_no_folder(tmp_path: Path, adapter: Path) -> None:
    evaluation_files.copy_measured(tmp_path / "none", tmp_path / "target", adapter)
    assert not (tmp_path / "target").exists()
