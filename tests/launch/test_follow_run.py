"""Following a run folder while somebody writes it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.runs.run import Event, RunState
from tui_trainer.launch.follow_run import Position, Update, follow
from tui_trainer.store import atomic
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder


def row(step: int) -> TrainRecord:
    return TrainRecord(
        step=step,
        epoch=0.0,
        loss=1.0,
        learning_rate=1e-3,
        gradient_norm=1.0,
        step_time_ms=1.0,
        tokens=1,
        examples=1,
        time=float(step),
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path)
    with atomic.appending(run.metrics_file) as lines:
        lines.append(row(1))
        lines.append(EvalRecord(step=1, epoch=0.0, val_loss=2.0, time=1.5))
    with atomic.appending(run.events_file) as lines:
        lines.append(Event(time=1.2, step=1, kind="warning", message="hm"))
    run_folder.write_state(run, RunState(state="completed", step=1, updated_at=9.0))
    return run


def kinds(updates: tuple[Update, ...]) -> list[str]:
    return [type(update).__name__ for update in updates]


def test_an_ended_run_comes_in_one_batch_by_time(folder: RunFolder) -> None:
    (batch,) = follow(folder, None)
    assert kinds(batch) == ["TrainRecord", "Event", "EvalRecord", "RunState"]


def test_earlier_records_are_left_out(folder: RunFolder) -> None:
    since = Position.at_end(folder)
    with folder.metrics_file.open("ab") as file:
        file.write(b'{"torn":')
    with atomic.appending(folder.metrics_file) as lines:
        lines.append(row(2))
    (batch,) = follow(folder, None, since)
    assert batch[:-1] == (row(2),)
    assert kinds(batch[-1:]) == ["RunState"]


def test_rows_written_just_before_the_end_are_not_lost(folder: RunFolder) -> None:
    script = """
import sys, time
from pathlib import Path
from tui_trainer.store import atomic
with atomic.appending(Path(sys.argv[1])) as lines:
    for step in range(2, 30):
        lines.append({"kind": "eval", "step": step, "epoch": 0, "val_loss": None, "time": step})
        time.sleep(0.005)
"""
    process = subprocess.Popen([sys.executable, "-c", script, str(folder.metrics_file)])
    found = [update for batch in follow(folder, process) for update in batch]
    steps = [update.step for update in found if isinstance(update, EvalRecord)]
    assert steps == list(range(1, 30))


def test_an_incomplete_line_is_read_once_it_is_complete(folder: RunFolder) -> None:
    run_folder.write_state(folder, RunState(state="idle", updated_at=time.time()))
    batches = follow(folder, None, Position.at_end(folder))
    next(batches)
    with folder.events_file.open("ab", buffering=0) as file:
        file.write(b'{"time":5,"step":2,"ki')
        assert next(batches) == ()
        file.write(b'nd":"checkpoint"}\n')
        assert next(batches) == (Event(time=5, step=2, kind="checkpoint"),)
    run_folder.write_state(folder, RunState(state="failed", step=2, updated_at=10.0))
    assert kinds(next(batches)) == ["RunState"]
    assert list(batches) == []
