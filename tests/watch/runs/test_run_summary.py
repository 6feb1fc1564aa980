"""A run's row in the list: a few looks at its files must say what the whole file would."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store import atomic
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs import run_summary
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.watch.runs.run_summary import SummaryReader, sample_file
from tui_trainer.watch.tables.source import SourcePeek


def row(step: int, **more: Any) -> dict[str, Any]:
    known = {
        "kind": "train", "step": step, "epoch": step / 100, "loss": 1.0 + 5.0 / (1 + step / 500),
        "learning_rate": 1e-3, "step_time_ms": 50.0, "tokens": 100, "time": 1e9 + step / 10,
    }  # fmt: skip
    return {**known, **more}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in rows)
    return path


def reader_of(path: Path) -> SummaryReader:
    reader = SummaryReader(RunLocation(path, "jsonl", path.name, path.stem))
    reader.read()
    return reader


def test_a_short_file_shows_everything(tmp_path: Path) -> None:
    rows = [row(step) for step in range(1, 101)]
    rows[49]["loss"] = 0.25
    rows.append({"step": 100, "eval_loss": 3.5})
    summary = reader_of(write(tmp_path / "log.jsonl", rows)).summary
    assert (summary.step, summary.best_loss, summary.best_val_loss) == (100, 0.25, 3.5)
    assert (summary.learning_rate, summary.epoch) == (1e-3, 1.0)
    assert summary.tokens_per_second == pytest.approx(2000.0)
    assert len(summary.spark) == 24 and summary.spark[0] > summary.spark[-1]
    assert summary.trend is not None and -0.1 < summary.trend < 0


def test_a_long_file_is_seen_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "log.jsonl", [row(step) for step in range(1, 20_001)])
    size = path.stat().st_size
    read = count_bytes(monkeypatch)
    found = sample_file(path, size, SourcePeek())
    assert read[0] < 80_000 < size
    assert (found.step, found.loss) == (20_000, row(20_000)["loss"])
    assert found.tokens_per_second == pytest.approx(2000.0)
    assert found.seconds_per_step == pytest.approx(0.1)
    assert len(found.spark) == 24
    for index, loss in enumerate(found.spark):
        expected = row(round(index / 23 * 20_000))["loss"]
        assert loss == pytest.approx(expected, rel=0.1)
    assert found.trend == pytest.approx(-0.012, abs=0.01)
    assert found.best_loss is None  # only a whole reading knows


def count_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    total, original = [0], run_summary._whole_lines

    def counted(data: bytes, from_start: bool) -> bytes:
        total[0] += len(data)
        return original(data, from_start)

    monkeypatch.setattr(run_summary, "_whole_lines", counted)
    return total


def test_an_unchanged_file_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "log.jsonl", [row(1), row(2)])
    reader = reader_of(path)
    monkeypatch.setattr(run_summary, "sample_file", lambda *_: pytest.fail("read again"))
    assert not reader.read()


def test_what_a_whole_reading_found_is_kept_while_it_grows(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [row(step) for step in range(1, 5001)])
    evaluation = {"kind": "eval", "step": 5001, "val_loss": 0.5}
    write(path, [row(5001, loss=0.125), evaluation, *map(row, range(5003, 6000))])
    reader = SummaryReader(RunLocation(path, "jsonl", path.name, path.stem))
    whole = RunReader(reader.location)
    while whole.read()[1]:
        pass
    reader.adopt(whole.view().summary)
    assert not reader.read() or reader.summary.best_loss == 0.125
    write(path, [row(6000)])
    assert reader.read()
    assert (reader.summary.step, reader.summary.best_loss) == (6000, 0.125)
    assert reader.summary.best_val_loss == 0.5
    write(path, [row(6001, loss=0.1)])
    assert reader.read() and reader.summary.best_loss == 0.1
    path.write_text(json.dumps(row(1)) + "\n")  # started over
    assert reader.read() and reader.summary.best_loss == row(1)["loss"]


def test_the_remaining_time_is_estimated_where_the_state_has_none(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    me = psutil.Process()
    state = {
        "state": "training", "pid": os.getpid(), "pid_created": me.create_time(), "step": 100,
        "total_steps": 300, "updated_at": time.time(),
    }  # fmt: skip
    atomic.write_json(folder / "state.json", msgspec.convert(state, RunState), durable=False)
    write(folder / "metrics.jsonl", [row(step) for step in range(1, 101)])
    reader = SummaryReader(RunLocation(folder, "run", "run", "run"))
    reader.read()
    assert reader.summary.eta_seconds == pytest.approx(20.0)
    assert reader.summary.tokens_per_second == pytest.approx(2000.0)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"x" * 200_000, b"{}\n" * 60_000, b"\x00" * 150_000]
)
def test_a_file_without_rows_leaves_the_row_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    summary = reader_of(path).summary
    assert (summary.step, summary.loss, summary.spark, summary.trend) == (None, None, (), None)


def test_losses_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    rows = [row(step, loss=math.nan if step % 2 else 2.0) for step in range(1, 3001)]
    summary = reader_of(write(tmp_path / "log.jsonl", rows)).summary
    assert summary.loss == 2.0
    assert set(summary.spark) == {2.0}
    assert summary.trend == 0.0
