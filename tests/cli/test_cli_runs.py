"""`runs list` and `runs show` over folders made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.cli import main
from tui_trainer.contracts.job import DataSettings, Job
from tui_trainer.contracts.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.run import RunState
from tui_trainer.store import atomic, checkpoints, runs
from tui_trainer.store.runs import RunFolder

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Makes a run `name` in `runs/` with one step, one evaluation and one checkpoint."""
    data = tmp_path / "data.jsonl"
    data.write_text("{}\n")

    def make(name: str, **state: Any) -> RunFolder:
        job = Job(name=name, data=DataSettings(train=str(data)))
        folder = runs.create_run(tmp_path / "runs", job)
        with atomic.appending(folder.metrics_file) as lines:
            lines.append(train_row(7))
            lines.append(EvalRecord(step=7, epoch=0.5, val_loss=1.5, time=3.0))
        with folder.metrics_file.open("ab") as file:
            file.write(b'garbage\n{"kind":"train","step":8,"torn')
        saved = folder.checkpoints_dir / "step-00000007"
        saved.mkdir(parents=True)
        (saved / "adapter.bin").write_bytes(b"x" * 2048)
        checkpoints.seal(saved, 7)
        checkpoints.point_best(folder, saved.name)
        facts: dict[str, Any] = {"state": "cancelled", "step": 7, "total_steps": 40} | state
        runs.write_state(folder, RunState(**facts))
        return folder

    return make


def train_row(step: int) -> TrainRecord:
    return TrainRecord(
        step=step,
        epoch=0.5,
        loss=None,
        learning_rate=1.6e-4,
        gradient_norm=0.8,
        step_time_ms=1.0,
        tokens=10,
        examples=1,
        time=2.0,
        nonfinite=["loss"],
    )


def printed(capsys: Capture, *arguments: str) -> str:
    assert main.main(arguments) == 0
    return capsys.readouterr().out


def test_the_list_shows_a_dead_run_as_crashed(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture
) -> None:
    crashed = make_run("left", state="training", pid=2**22 + 1, pid_created=5.0, best_val_loss=1.25)
    other = make_run("right")
    where = str(tmp_path / "runs")
    header, *rows = printed(capsys, "runs", "list", "--runs-dir", where).splitlines()
    assert header.split() == ["NAME", "STATUS", "STEP", "LOSS", "BEST", "VAL", "STARTED", "ID"]
    told = {row.split()[0]: row for row in rows}
    assert told["left"].split()[1:7] == ["crashed", "7", "/", "40", "–", "1.25"]
    assert told["right"].endswith(other.path.name)
    documents = json.loads(printed(capsys, "runs", "list", "--runs-dir", where, "--json"))
    facts = {item["name"]: item for item in documents}
    assert facts["left"]["status"] == "crashed"
    assert facts["left"]["path"] == str(crashed.path)
    assert (facts["left"]["loss"], facts["left"]["val_loss"]) == (None, 1.5)


def test_an_empty_list_is_a_json_document_too(tmp_path: Path, capsys: Capture) -> None:
    assert printed(capsys, "runs", "list", "--runs-dir", str(tmp_path), "--json") == "[]\n"


def test_a_folder_with_a_broken_run_json_is_listed(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "run.json").write_text("not JSON")
    (tmp_path / "none").mkdir()
    text = printed(capsys, "runs", "list", "--runs-dir", str(tmp_path))
    assert text.splitlines()[1].split()[:2] == ["odd", "unknown"]
    assert "run.json  cannot be read" in printed(capsys, "runs", "show", str(tmp_path / "odd"))


def test_show_tells_results_checkpoints_and_where_the_adapter_lies(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture
) -> None:
    folder = make_run("mine", best_val_loss=1.5, best_step=7, message="stopped\x07 at step 7")
    folder.adapter_dir.mkdir()
    (folder.adapter_dir / "adapter_model.safetensors").touch()
    text = printed(capsys, "runs", "show", "mine", "--runs-dir", str(tmp_path / "runs"))
    facts = [" ".join(line.split()) for line in text.splitlines()]
    assert "status cancelled" in facts
    assert "message stopped\\x07 at step 7" in facts
    assert "step 7 / 40" in facts
    assert "loss – at step 7" in facts
    assert "best val_loss 1.5 at step 7" in facts
    assert "learning rate 1.6e-4" in facts
    assert "step-00000007 2.0 KiB, best" in facts
    assert f"adapter {folder.adapter_dir}" in facts
    assert "peak rate 2e-4, cosine" in facts


def test_show_as_json_names_damaged_checkpoints(
    make_run: Callable[..., RunFolder], capsys: Capture
) -> None:
    folder = make_run("mine")
    (folder.checkpoints_dir / "step-00000007" / "adapter.bin").write_bytes(b"y" * 2048)
    found = json.loads(printed(capsys, "runs", "show", str(folder.path), "--json"))
    assert found["checkpoints"][0]["problem"] == "adapter.bin is not what was saved"
    assert found["adapter"] is None
    assert found["info"]["job"]["name"] == "mine"
    assert found["last_train"]["nonfinite"] == ["loss"]
    assert found["last_eval"]["val_loss"] == 1.5


def test_show_ends_with_what_a_failed_run_printed(
    make_run: Callable[..., RunFolder], capsys: Capture
) -> None:
    folder = make_run("mine", state="failed", message="loss is not finite")
    folder.log_file.write_text("one\n\x1b[31mtwo\n")
    text = printed(capsys, "runs", "show", str(folder.path))
    assert text.endswith("last lines of engine.log\n  |  one\n  |  \\x1b[31mtwo\n")
