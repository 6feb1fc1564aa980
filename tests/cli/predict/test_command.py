"""`tui-trainer predict`: files in and out, bad rows, Ctrl-C, and what a classifier is."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.classifiers import LABELS, save_classifier
from tui_trainer.cli import main
from tui_trainer.cli.predict import command as predict_command
from tui_trainer.cli.predict.files import open_writer
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.predict import Prediction, PredictorReady, RowsPredicted
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.store.adapters.adapter_import import add_from
from tui_trainer.store.adapters.adapter_store import AdapterStore

Capture = pytest.CaptureFixture[str]
ROWS = [{"text": "the cat"}, {"text": ""}, {"text": "a dog ran", "label": "dog"}]


@pytest.fixture
def store(encoder: Path, tmp_path: Path) -> AdapterStore:
    """A classifier named `pets`."""
    folder = save_classifier(encoder, tmp_path / "adapter")
    made = AdapterStore()
    add_from(made, folder, "pets")
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three rows; the second has no text."""
    made = tmp_path / "rows.jsonl"
    made.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return made


def predicted(row: int) -> Prediction:
    return Prediction(
        row=row, input=f"text {row}", label="cat", probability=0.75,
        probabilities={"cat": 0.75, "dog": 0.25},
    )  # fmt: skip


class FakeProcess:
    """Predicts two windows of two rows, and is interrupted before a third."""

    facts = PredictorReady(task="classification", labels=["cat", "dog"])
    ends_with: BaseException | None = KeyboardInterrupt()

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def file(self, file: Path) -> Iterator[RowsPredicted]:
        yield RowsPredicted(rows=[predicted(1), predicted(2)], total=6)
        yield RowsPredicted(rows=[predicted(3), Prediction(row=4, error="line 4: empty")], total=6)
        if self.ends_with is not None:
            raise self.ends_with


@pytest.mark.slow
def test_rows_get_labels_and_probabilities_in_their_order(
    store: AdapterStore, file: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tui_trainer", "predict", "pets"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(file)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["row"] for row in rows] == [1, 2, 3]
    assert rows[1] == {"row": 2, "error": "line 2: empty"}
    for row in (rows[0], rows[2]):
        assert list(row["probabilities"]) == list(LABELS)
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["probability"] == row["probabilities"][row["label"]]
        assert row["probability"] == max(row["probabilities"].values())
    assert "1 of 3 rows without a prediction: line 2: empty" in done.stderr
    assert "\r" not in done.stderr
    piped = subprocess.run(
        [*command, "-"], input="the cat\n", capture_output=True, text=True, env=environment,
        check=False,
    )  # fmt: skip
    first = json.loads(piped.stdout)
    assert (first["label"], first["input"]) == (rows[0]["label"], "the cat")


@pytest.mark.slow
def test_a_causal_adapter_answers_every_row(
    tiny_base: Path, qwen2_base: Path, tmp_path: Path
) -> None:
    import torch

    from tui_trainer.contracts.job import LoraSettings
    from tui_trainer.models import base_model, lora_train

    loaded = base_model.load_base(str(tiny_base), torch.device("cpu"), torch.float32)
    model = lora_train.attach(loaded, LoraSettings(rank=2, alpha=4))
    folder = tmp_path / "causal"
    folder.mkdir()
    lora_train.save_adapter(model, folder, str(tiny_base))
    file = tmp_path / "questions.csv"
    file.write_text('question,answer\nthe cat?,no\n"",x\nthe dog?,\n')
    out = tmp_path / "answers.csv"
    options = ["-o", str(out), "--max-new-tokens", "4"]
    assert main.main(["predict", str(folder), str(file), *options]) == 0
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["row"] for row in rows] == ["2", "3", "4"]
    assert [row["input"] for row in rows] == ["the cat?", "", "the dog?"]
    assert rows[0]["answer"]
    assert not rows[1]["answer"]
    assert rows[1]["error"] == "line 3: empty"


def test_ctrl_c_keeps_what_is_written_and_says_how_many_rows(
    store: AdapterStore,
    file: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predict_command, "PredictorProcess", FakeProcess)
    out = tmp_path / "out.jsonl"
    assert main.main(["predict", "pets", str(file), "-o", str(out)]) == 130
    assert len(out.read_text().splitlines()) == 4
    assert f"4 of 6 rows are written to {out}" in capsys.readouterr().err
    monkeypatch.setattr(FakeProcess, "ends_with", UserError("the process was killed", 1))
    assert main.main(["predict", "pets", str(file), "-o", str(out)]) == 1
    text = capsys.readouterr().err
    assert "4 of 6 rows" in text
    assert "error: the process was killed" in text
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_every_format_has_the_same_rows(tmp_path: Path) -> None:
    rows = [predicted(1), Prediction(row=2, error="line 2: empty")]
    for name in ("out.jsonl", "out.csv"):
        with open_writer(tmp_path / name, "classification") as writer:
            writer.write(rows)
            assert not (tmp_path / name).exists()
            assert writer.finish() == str(tmp_path / name)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"row": 2, "error": "line 2: empty"}
    with (tmp_path / "out.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert json.loads(table[0]["probabilities"]) == json.loads(lines[0])["probabilities"]
    assert (table[1]["label"], table[1]["error"]) == ("", "line 2: empty")


def test_parquet_has_the_same_rows(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with open_writer(tmp_path / "out.parquet", "classification") as writer:
        writer.write([predicted(1), Prediction(row=2, error="line 2: empty")])
        writer.write([predicted(3)])
        writer.finish()
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["row"] for row in rows] == [1, 2, 3]
    assert dict(rows[0]["probabilities"]) == {"cat": 0.75, "dog": 0.25}
    assert (rows[1]["label"], rows[1]["error"]) == (None, "line 2: empty")


def test_bad_arguments_are_one_sentence(
    store: AdapterStore, file: Path, tmp_path: Path, capsys: Capture
) -> None:
    for arguments, reason in (
        (("nope", str(file)), "there is no run, adapter or model 'nope'"),
        (("builtin", str(file)), "builtin is a model without an adapter"),
        (("pets", str(tmp_path / "gone.csv")), "is not a file"),
        (("pets", str(file), "-o", str(file)), "write to another one"),
        (("pets", str(file), "-o", str(tmp_path / "out.xlsx")), "end its name in one of"),
        (("pets", str(file), "-o", str(tmp_path / "no" / "out.csv")), "cannot be written"),
    ):
        assert main.main(["predict", *arguments]) in (1, 2)
        text = capsys.readouterr().err
        assert text.startswith("error: ")
        assert text.count("\n") == 1
        assert reason in text


def test_a_classifier_is_not_offered_to_the_chat(
    store: AdapterStore, tmp_path: Path, capsys: Capture
) -> None:
    assert store.get("pets").task == "classification"
    assert main.main(["adapters", "load", "pets"]) == 2
    assert "tui-trainer predict pets FILE" in capsys.readouterr().err
    assert main.main(["adapters", "compare", "pets", "pets"]) == 2
    assert "is a classifier" in capsys.readouterr().err
    assert main.main(["adapters", "add", str(tmp_path / "adapter")]) == 0
    assert "it is a classifier; classify texts with" in capsys.readouterr().err
    # An earlier version could activate it, and wrote no task.
    base = store.get("pets").base_model
    (store.root / "live.json").unlink(missing_ok=True)
    store._live().write(base, {"pets": 1.0})
    assert store.drop_missing_live(base) == [
        "adapter 'pets' was deactivated: it is a classifier, which does not answer in the chat"
    ]


@pytest.mark.slow
def test_merge_of_a_classifier_is_a_plain_model(
    store: AdapterStore, tmp_path: Path, capsys: Capture
) -> None:
    assert main.main(["adapters", "merge", "pets", str(tmp_path / "merged")]) == 0
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["id2label"] == {str(index): label for index, label in enumerate(LABELS)}
    assert not (tmp_path / "merged" / "generation_config.json").exists()
    assert "writing the model" in capsys.readouterr().err


def test_the_task_of_an_adapter_is_kept(store: AdapterStore) -> None:
    assert isinstance(store.get("pets"), AdapterInfo)
    assert json.loads((store.root / "pets" / "adapter.json").read_text())["task"] == (
        "classification"
    )
