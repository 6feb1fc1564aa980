"""The reports of evaluations in a folder, and which of them an adapter takes along."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from tui_trainer.contracts.evaluation import EvaluationScores
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
