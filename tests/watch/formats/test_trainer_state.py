"""Hugging Face's trainer_state.json, as it is written and as people left it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.watch.formats.encoders import event, scalar, tfevents
from tests.watch.formats.reading import drain, points, read_run
from tui_trainer.watch.formats import registry
from tui_trainer.watch.formats.trainer_state import TrainerStateSource
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.run_summary import SummaryReader
from tui_trainer.watch.scan import Scanner

_DATA = os.environ.get("TUI_TRAINER_SHARED_DATA", "")
LOGS = sorted(Path(_DATA).glob("foreign_runs/*.json")) if _DATA else []
_OURS = {
    "loss": "loss", "learning_rate": "learning_rate", "gradient_norm": "grad_norm",
    "val_loss": "eval_loss", "val_accuracy": "eval_accuracy",
}  # fmt: skip


def row(step: int, **more: Any) -> dict[str, Any]:
    return {"epoch": step / 10, "loss": float(step), "learning_rate": 1e-4, "step": step, **more}


def put(folder: Path, rows: list[dict[str, Any]], step: int, most: int = 100) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    state = {"global_step": step, "max_steps": most, "log_history": rows, "train_batch_size": 8}
    (folder / "trainer_state.json").write_text(json.dumps(state, indent=2, sort_keys=True))
    return folder


def test_one_run_of_a_folder_with_checkpoints(tmp_path: Path) -> None:
    rows = [row(s) for s in range(10, 60, 10)]
    put(tmp_path / "out" / "checkpoint-20", rows[:2], 20)
    put(tmp_path / "out" / "checkpoint-50", rows, 50)
    (tmp_path / "out" / "runs" / "Nov21").mkdir(parents=True)
    found_locations = Scanner(tmp_path).scan().locations
    assert [(p.kind, p.id) for p in found_locations.values()] == [("trainer_state", "out")]
    view = read_run(tmp_path / "out", "trainer_state")
    assert points(view.train, "loss") == [(s, s) for s in range(10, 60, 10)]
    assert (view.summary.step, view.summary.total_steps) == (50, 100)
    assert view.config["trainer.train_batch_size"] == 8
    assert view.lacks == ("gradient norm", "evaluation loss", "time of the rows", "state")


def test_a_new_checkpoint_continues_the_chart(tmp_path: Path) -> None:
    rows = [row(s) for s in range(10, 110, 10)]
    put(tmp_path / "checkpoint-50", rows[:5], 50)
    source = TrainerStateSource(tmp_path)
    drain(source)
    history = source.history
    put(tmp_path / "checkpoint-100", rows, 100)
    shutil.rmtree(tmp_path / "checkpoint-50")
    drain(source)
    assert source.history is history, "only the new rows are added"
    assert points(history.train.table(), "loss") == [(s, s) for s in range(10, 110, 10)]
    assert source.facts().status == "completed"
    assert source.warnings() == []


def test_other_content_is_reported_again(tmp_path: Path) -> None:
    put(tmp_path, [row(10), row(20)], 20)
    source = TrainerStateSource(tmp_path)
    drain(source)
    put(tmp_path, [row(5), row(10)], 30)
    drain(source)
    assert points(source.history.train.table(), "loss") == [(5, 5), (10, 10)]


def test_a_resume_that_forgot_its_past_is_continued(tmp_path: Path) -> None:
    put(tmp_path / "checkpoint-20", [row(10), row(20)], 20)
    put(tmp_path / "checkpoint-40", [row(30), row(40)], 40)
    view = read_run(tmp_path, "trainer_state")
    assert points(view.train, "loss") == [(s, s) for s in (10, 20, 30, 40)]


def test_a_half_written_file_leaves_the_chart_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, [row(10), row(20)], 20)
    file = tmp_path / "trainer_state.json"
    whole = file.read_bytes()
    source = TrainerStateSource(tmp_path)
    drain(source)
    for cut in range(0, len(whole), 9):
        file.write_bytes(whole[:cut])
        drain(source)
        assert len(source.history.train.table()) == 2
    assert source.warnings() == [], "it is being written"
    os.utime(file, (time.time() - 60,) * 2)
    drain(source)
    assert source.warnings() == ["trainer_state.json: cut off, or not a trainer_state.json"]
    file.write_bytes(whole)
    drain(source)
    assert source.warnings() == []


def test_nan_literals_and_the_last_rows_sum(tmp_path: Path) -> None:
    rows = [row(10, grad_norm=float("inf")), row(20, loss=float("nan"))]
    rows.append({"epoch": 2.0, "step": 20, "train_loss": 7.5, "train_runtime": 3.0})
    put(tmp_path, rows, 20, most=20)
    view = read_run(tmp_path, "trainer_state")
    assert points(view.train, "loss") == [(10, 10), (20, -1)], "7.5 is the mean of the whole run"
    assert points(view.train, "gradient_norm") == [(10, -1)]
    assert view.config["results.train_loss"] == 7.5
    assert view.summary.status == "completed"


def test_adapter_settings_stand_beside(tmp_path: Path) -> None:
    put(tmp_path / "checkpoint-5", [row(5)], 5)
    beside = tmp_path / "checkpoint-5" / "adapter_config.json"
    beside.write_text('{"r": 16, "lora_alpha": 32, "revision": null}')
    config = read_run(tmp_path, "trainer_state").config
    assert config["lora.r"] == 16 and "lora.revision" not in config


def test_the_list_knows_the_run_too(tmp_path: Path) -> None:
    put(tmp_path, [row(10), row(20)], 20)
    reader = SummaryReader(RunLocation(tmp_path, "trainer_state", "x", "x"))
    reader.read()
    summary = reader.summary
    assert (summary.step, summary.loss, summary.total_steps) == (20, 20.0, 100)
    put(tmp_path, [row(10), row(20), row(30)], 30)
    assert reader.read() and reader.summary.step == 30
    assert not reader.read()


@pytest.mark.skipif(not LOGS, reason="TUI_TRAINER_SHARED_DATA names no logs")
@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.name.split(".")[0])
def test_every_series_of_real_logs_is_right(log: Path) -> None:
    view = read_run(log, "trainer_state")
    rows = json.loads(log.read_text())["log_history"]
    expected: dict[str, dict[float, float]] = {}
    newest = 0.0
    for found in rows:
        newest = found.get("step", newest)
        if "train_runtime" in found:
            continue
        for name, value in found.items():
            if name not in ("step", "epoch"):
                expected.setdefault(name, {})[newest] = value
    seen = 0
    for table in (view.train, view.evals):
        for name in table.names():
            theirs = _OURS.get(name, name)
            assert points(table, name) == sorted(expected[theirs].items()), name
            seen += 1
    assert seen == len(expected)
    assert view.warnings == () or all("without a step" in messages for messages in view.warnings)


def test_rows_since_the_newest_checkpoint_come_from_tensorboard(tmp_path: Path) -> None:
    put(tmp_path / "checkpoint-20", [row(10), row(20, eval_x_loss=3.0)], 20)
    logs = tmp_path / "runs" / "Nov21_10-00-00_host" / "events.out.tfevents.1.x"
    logs.parent.mkdir(parents=True)
    made = [
        event(1e9 + s, s, scalar("train/loss", s + 0.5), scalar("eval/x_loss", 2.0))
        for s in (10, 20, 30, 40)
    ]
    logs.write_bytes(tfevents(*made[:3]))
    (location,) = Scanner(tmp_path).scan().locations.values()
    source = registry.open_source(location)
    drain(source)
    assert points(source.history.train.table(), "loss") == [(10, 10), (20, 20), (30, 30.5)]
    assert points(source.history.evals.table(), "eval_x_loss") == [(20, 3), (30, 2)]
    logs.write_bytes(tfevents(*made))
    drain(source)
    assert points(source.history.train.table(), "loss")[-1] == (40, 40.5)
    later = put(tmp_path / "checkpoint-40", [row(s) for s in (10, 20, 30, 40)], 40)
    os.utime(logs, (time.time() - 60,) * 2)
    drain(source)
    assert points(source.history.train.table(), "loss") == [(s, s) for s in (10, 20, 30, 40)]
    assert source.history.rewind_count == 0 and later.exists()


def test_a_file_that_was_cut_off_for_good_shows_its_whole_rows(tmp_path: Path) -> None:
    put(tmp_path, [row(10), row(20), row(30)], 30)
    file = tmp_path / "trainer_state.json"
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.index(b'"step": 30')])
    os.utime(file, (time.time() - 60,) * 2)
    source = TrainerStateSource(tmp_path)
    drain(source)
    history = source.history
    assert points(history.train.table(), "loss") == [(10, 10), (20, 20)]
    assert source.warnings() == ["trainer_state.json: cut off, or not a trainer_state.json"]
    file.write_bytes(whole)
    drain(source)
    assert source.history is history
    assert points(history.train.table(), "loss") == [(10, 10), (20, 20), (30, 30)]
    assert source.warnings() == []
