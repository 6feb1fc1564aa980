"""One run read as it goes: our folders and other people's files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from tui_trainer.contracts.job import DataSettings, Job
from tui_trainer.contracts.runs.run import RunInfo, RunState
from tui_trainer.store import atomic
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.watch.runs.run_summary import SummaryReader
from tui_trainer.watch.snapshots import RunView
from tui_trainer.watch.tables.metrics_file import MetricsFile


def make_run(folder: Path, name: str = "demo") -> Path:
    folder.mkdir(parents=True)
    info = RunInfo(
        id=folder.name, name=name, created_at=1000.0, job=Job(data=DataSettings(train="t.jsonl")),
        base_model="builtin", base_path=None, base_hash=None, data_hash="h", data_files={},
        versions={}, host=socket.gethostname(), seed=1,
    )  # fmt: skip
    atomic.write_json(folder / "run.json", info)
    return folder


def set_state(folder: Path, state: str, **changes: Any) -> None:
    known: dict[str, Any] = {
        "pid": os.getpid(),
        "pid_created": psutil.Process().create_time(),
        "host": socket.gethostname(),
        "updated_at": time.time(),
        "step": 3,
        "total_steps": 10,
    }
    values = {**known, "state": state, **changes}
    atomic.write_json(folder / "state.json", msgspec.convert(values, RunState), durable=False)


def write(path: Path, *records: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        for record in records:
            file.write((record if isinstance(record, str) else json.dumps(record)) + "\n")


def train(step: int, loss: float | None) -> dict[str, Any]:
    return {"kind": "train", "step": step, "epoch": step / 10, "loss": loss, "time": 1e9 + step}


def reader_of(path: Path, kind: str = "run") -> RunReader:
    return RunReader(RunLocation(path, "run" if kind == "run" else "jsonl", path.name, path.stem))


def read_all(reader: RunReader) -> RunView:
    while reader.read()[1]:
        pass
    return reader.view()


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_training_run_of_ours(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r1")
    set_state(folder, "training", tokens_per_second=99.0)
    write(folder / "metrics.jsonl", train(1, 3.0), train(2, 2.0))
    write(folder / "metrics.jsonl", {"kind": "eval", "step": 2, "epoch": 0.2, "val_loss": 2.5})
    write(folder / "events.jsonl", {"time": 1.0, "step": 0, "kind": "state", "message": "hello"})
    write(folder / "hardware.jsonl", {"time": 1.0, "cpu_percent": 40.0})
    view = read_all(reader_of(folder))
    assert view.train.column("loss").tolist() == [3.0, 2.0]
    assert view.evals.column("val_loss").tolist() == [2.5]
    assert [event.message for event in view.events] == ["hello"]
    assert view.hardware[0].cpu_percent == 40.0
    assert view.commandable
    assert view.warnings == ()
    summary = view.summary
    assert (summary.id, summary.name, summary.status) == ("r1", "demo", "training")
    assert (summary.step, summary.total_steps, summary.loss) == (3, 10, 2.0)
    assert (summary.best_val_loss, summary.tokens_per_second) == (2.5, 99.0)


def test_a_reading_without_news_gives_the_same_view(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r1")
    set_state(folder, "completed")
    write(folder / "metrics.jsonl", train(1, 3.0))
    reader = reader_of(folder)
    view = read_all(reader)
    assert reader.read() == (False, False)
    assert reader.view() is view
    write(folder / "metrics.jsonl", train(2, 3.0))
    assert reader.read() == (True, False)
    assert reader.view().events is view.events
    assert len(reader.view().train) == 2


def test_a_process_that_is_gone_is_a_crash_with_its_last_words(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r1")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    created = psutil.Process(process.pid).create_time()
    set_state(folder, "training", pid=process.pid, pid_created=created)
    (folder / "engine.log").write_text("loading\nKilled by the kernel\n")
    reader = reader_of(folder)
    assert read_all(reader).summary.status == "training"
    assert reader.view().log_tail == ()
    process.kill()
    process.wait()
    assert reader.read() == (True, False)  # no file changed
    view = reader.view()
    assert view.summary.status == "crashed"
    assert view.log_tail == ("loading", "Killed by the kernel")
    assert not view.commandable
    set_state(folder, "training")  # resumed by this very process
    assert read_all(reader).summary.status == "training"
    assert reader.view().log_tail == ()


def test_a_run_of_another_host_cannot_be_commanded(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r1")
    set_state(folder, "training", host="elsewhere")
    assert not read_all(reader_of(folder)).commandable
    set_state(folder, "training", host="elsewhere", updated_at=time.time() - 1e4)
    assert read_all(reader_of(folder)).summary.status == "stale"


def test_damaged_files_are_reported_and_the_rest_is_shown(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r1")
    (folder / "run.json").write_text("{")
    (folder / "state.json").write_text("[]")
    write(folder / "metrics.jsonl", train(1, 3.0), "garbage", train(2, 2.0))
    write(folder / "events.jsonl", "{}", {"time": 1.0, "step": 0, "kind": "state"})
    view = read_all(reader_of(folder))
    assert view.summary.status == "unknown"
    assert len(view.train) == 2
    assert len(view.events) == 1
    assert view.warnings == (
        "run.json cannot be read: not JSON: Input data was truncated",
        "state.json cannot be read: Expected `object`, got `array`",
        "metrics.jsonl: 1 line not JSON (line 2)",
        "events.jsonl: 1 line cannot be read (the first is line 1: "
        "Object missing required field `time`)",
    )


def test_a_metrics_file_that_cannot_be_read_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "r1")
    write(folder / "metrics.jsonl", train(1, 3.0))

    def refuse(path: Path, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    reader = reader_of(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert read_all(reader).warnings == (
            "run.json cannot be read: Permission denied",
            "metrics.jsonl cannot be read: Permission denied",
        )
        assert "Permission denied" in reader.view().summary.problem
    assert read_all(reader).warnings == ()
    assert len(reader.view().train) == 1


def test_other_peoples_file(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, {"step": 1, "train_loss": 3}, {"step": 5, "train_loss": 2}, {"step": 3, "lr": 1})
    view = read_all(reader_of(path, "jsonl"))
    assert view.summary.kind == "jsonl"
    assert view.summary.status == "unknown"
    assert (view.summary.step, view.summary.loss) == (3, 3.0)
    assert view.warnings == (
        "log.jsonl: steps went back once, last from 5 to 3; the later rows are kept",
    )
    assert view.resumed_at == (3.0,)
    age(path, 1000)
    assert read_all(reader_of(path, "jsonl")).summary.status == "recorded"


def test_a_last_line_without_a_newline_counts_once_the_file_is_quiet(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step":1,"loss":3}\n{"step":2,"loss":NaN}')
    reader = reader_of(path, "jsonl")
    assert len(read_all(reader).train) == 1
    age(path, 10)
    assert read_all(reader).train.column("step").tolist() == [1, 2]
    with path.open("a") as file:
        file.write('\n{"step":3,"loss":1}\n')
    assert read_all(reader).train.column("step").tolist() == [1, 2, 3]
    assert reader.view().warnings == ()


def test_a_torn_last_line_is_reported_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step":1,"loss":3}\n{"step":2,"lo')
    age(path, 10)
    reader = reader_of(path, "jsonl")
    assert read_all(reader).warnings == ("log.jsonl: the last line is cut off",)
    assert reader.read() == (False, False)
    with path.open("a") as file:
        file.write('ss":2}\n')
    assert read_all(reader).warnings == ()
    assert len(reader.view().train) == 2


def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, *({"step": s, "loss": s} for s in range(9)))
    reader = reader_of(path, "jsonl")
    old = read_all(reader)
    path.write_text('{"step":4,"loss":7}\n')
    assert read_all(reader).train.column("loss").tolist() == [7]
    assert reader.view().warnings == (
        "log.jsonl: the file was replaced or truncated, and read again from its start",
    )
    assert old.train.column("loss").tolist() == list(range(9))


def test_a_file_cut_at_every_byte_ends_as_the_whole(tmp_path: Path) -> None:
    whole = "".join(
        json.dumps(row) + "\n"
        for row in [
            train(1, 3.0), {"step": 1, "eval_loss": 2, "note": "é\u2028"}, train(2, 2.5),
            train(3, 2.0), train(2, 9.0), {"kind": "eval", "step": 2, "val_loss": None},
        ]
    ).replace("null", "NaN").encode()  # fmt: skip
    (tmp_path / "whole.jsonl").write_bytes(whole)
    expected = read_all(reader_of(tmp_path / "whole.jsonl", "jsonl"))
    assert len(expected.train) == 2 and len(expected.evals) == 2
    for cut in range(len(whole) + 1):
        path = tmp_path / f"{cut}.jsonl"
        path.write_bytes(whole[:cut])
        reader = reader_of(path, "jsonl")
        read_all(reader)
        with path.open("ab") as file:
            file.write(whole[cut:])
        view = read_all(reader)
        for mine, theirs in ((view.train, expected.train), (view.evals, expected.evals)):
            assert mine.columns.keys() == theirs.columns.keys()
            for name, column in theirs.columns.items():
                np.testing.assert_array_equal(mine.column(name), column)


def test_many_rows_arrive_in_slices(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, *(json.dumps({"step": s, "loss": s / 3}) for s in range(40_000)))
    metrics = MetricsFile(path)
    slices = 1
    while metrics.read()[1]:
        slices += 1
    assert slices > 2
    assert metrics.history.train.table().column("loss")[-1] == 39_999 / 3


def test_a_summary_reader_sees_the_end_of_a_long_file(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "r1")
    set_state(folder, "completed", step=40_000, best_val_loss=1.5)
    write(folder / "metrics.jsonl", *(json.dumps(train(s, s / 3)) for s in range(40_001)))
    summary_reader = SummaryReader(RunLocation(folder, "run", "r1", "r1"))
    assert summary_reader.read()
    assert summary_reader.summary.loss == pytest.approx(40_000 / 3)
    assert (summary_reader.summary.step, summary_reader.summary.best_val_loss) == (40_000, 1.5)
    assert summary_reader.order == 1000.0
    assert not summary_reader.read()
    write(folder / "metrics.jsonl", train(40_001, 7.0))
    assert summary_reader.read()
    assert summary_reader.summary.loss == 7.0


def test_a_summary_reader_reads_a_short_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(
        path, {"step": 1, "eval_loss": 1.0}, {"step": 9, "eval_loss": 2.0}, {"step": 9, "loss": 4}
    )
    summary_reader = SummaryReader(RunLocation(path, "jsonl", "log", "log"))
    assert summary_reader.read()
    assert (
        summary_reader.summary.step,
        summary_reader.summary.loss,
        summary_reader.summary.best_val_loss,
    ) == (9, 4, 1)


def test_the_shown_run_has_the_speed_that_the_list_has(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [train(step, 2.0) | {"tokens": 500, "step_time_ms": 250.0} for step in range(1, 10)]
    write(path, *rows)
    summary_reader = SummaryReader(RunLocation(path, "jsonl", "log", "log"))
    assert summary_reader.read()
    shown = read_all(reader_of(path, "jsonl")).summary
    assert shown.tokens_per_second == summary_reader.summary.tokens_per_second == 2000.0
