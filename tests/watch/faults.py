"""Runs and files with one fault each, as other programs, disks and users leave them."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.watch.folders import add_rows, make_run

DEEP = 5_000
GOOD_ROWS = 5
Fault = Callable[[Path], None]


def make_good(root: Path, name: str = "good") -> Path:
    """A run without a fault: `GOOD_ROWS` rows."""
    folder = make_run(root / name, created=2_000.0, step=GOOD_ROWS)
    add_rows(folder / "metrics.jsonl", *range(1, GOOD_ROWS + 1))
    return folder


def nested(depth: int = DEEP, content: str = "") -> str:
    """JSON lists in lists."""
    return "[" * depth + content + "]" * depth


def deep_line(depth: int = DEEP, **more: Any) -> bytes:
    """One line of JSON, nested `depth` deep."""
    text = json.dumps(more | {"value": 0})
    return text.replace('"value": 0', f'"value": {nested(depth)}').encode() + b"\n"


def _metrics(*lines: bytes) -> Fault:
    def make(root: Path) -> None:
        folder = make_run(root / "bad")
        (folder / "metrics.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))

    return make


def _named(name: str, rows: int = 400) -> Fault:
    """Rows with a metric of this name."""
    made = [
        json.dumps({"step": n, "loss": 1.0 / n, name: n / rows}).encode()
        for n in range(1, rows + 1)
    ]
    return _metrics(*made)


def _many_names(root: Path) -> None:
    folder = make_run(root / "bad")
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(1, 400):
            names = {f"metric {step}/{n}": 1.0 for n in range(50)}
            file.write(json.dumps({"step": step, "loss": 1.0, **names}) + "\n")


def _file(name: str, content: bytes) -> Fault:
    """A good run's folder in which one file holds this."""

    def make(root: Path) -> None:
        folder = make_good(root, "bad")
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)

    return make


def _instead(name: str, put: Callable[[Path], None]) -> Fault:
    """A good run's folder in which something else stands in the place of one file."""

    def make(root: Path) -> None:
        folder = make_good(root, "bad")
        target = folder / name
        target.unlink(missing_ok=True)
        put(target)

    return make


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # a socket's whole path may be too long
    try:
        with closing(socket.socket(socket.AF_UNIX)) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def _state(**more: Any) -> Fault:
    record = {"state": "completed", "updated_at": 1000.0, **more}
    return _file("state.json", json.dumps(record).encode())


def _trackio(name: bytes, step: object = 1, stamp: object = "2026-01-01T00:00:00") -> Fault:
    def make(root: Path) -> None:
        with closing(sqlite3.connect(root / "bad.db")) as base:
            base.execute(
                "CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT,"
                " step INTEGER, metrics TEXT)"
            )
            for n in range(3):
                base.execute(
                    "INSERT INTO metrics VALUES (?, ?, CAST(? AS TEXT), ?, ?)",
                    (n + 1, stamp, name, step, json.dumps({"loss": 1.0, "n": n})),
                )
            base.commit()

    return make


def _mlflow_database(
    time: object = 1000, step: object = 1, status: object = "RUNNING", start: object = 1000
) -> Fault:
    def make(root: Path) -> None:
        with closing(sqlite3.connect(root / "bad.db")) as base:
            base.execute("CREATE TABLE runs (run_uuid, name, status, start_time, lifecycle_stage)")
            base.execute("CREATE TABLE metrics (run_uuid, key, value, timestamp, step, is_nan)")
            base.execute("CREATE TABLE params (run_uuid, key, value)")
            base.execute("INSERT INTO runs VALUES ('r', 'n', ?, ?, 'active')", (status, start))
            base.execute("INSERT INTO metrics VALUES ('r', 'loss', 1.0, ?, ?, 0)", (time, step))
            base.commit()

    return make


def _mlflow_folder(line: str, meta: str = "") -> Fault:
    def make(root: Path) -> None:
        folder = root / "bad"
        (folder / "metrics").mkdir(parents=True)
        (folder / "meta.yaml").write_text(f"run_id: r\nrun_name: n\n{meta}\n")
        (folder / "metrics" / "loss").write_text(f"1000 1.0 1\n{line}\n")

    return make


def _bad_file_name(root: Path) -> None:
    folder = root / os.fsdecode(b"bad\xff")
    folder.mkdir()
    add_rows(folder / "metrics.jsonl", 1, 2, 3)


def _mlflow_pipe(root: Path) -> None:
    _mlflow_folder("2000 0.5 2")(root)
    os.mkfifo(root / "bad" / "params")
    os.mkfifo(root / "bad" / "metrics" / "pipe")


def _trainer_state(content: str) -> Fault:
    def make(root: Path) -> None:
        (root / "bad").mkdir()
        (root / "bad" / "trainer_state.json").write_text(content)

    return make


def _csv_beside_a_pipe(root: Path) -> None:
    (root / "bad").mkdir()
    (root / "bad" / "metrics.csv").write_text("epoch,step,loss\n0,1,1.0\n0,2,0.5\n")
    os.mkfifo(root / "bad" / "hparams.yaml")


_STEP = b'{"step": %s, "loss": 1.0}'
_LATE = 10.0**300

# Every one is a run that can be listed, in part or with the reason why it cannot be read.
RUNS: dict[str, Fault] = {
    "quote in a name": _named('acc "top1"'),
    "backslash in a name": _named("acc\\top1"),
    "control character in a name": _named("acc\x01"),
    "zero character in a name": _named("acc\0"),
    "newline in a name": _named("acc\ntop1"),
    "escape sequence in a name": _named("acc\x1b[31m\x1b]0;title\x07"),
    "markup in a name": _named("acc [red]top[/bold]1[/]"),
    "empty name": _named(""),
    "long name": _named("a" * 100_000, rows=3),
    "many names": _many_names,
    "lone surrogate": _metrics(b'{"step": 1, "loss": 1.0, "acc \\ud800": 1}', _STEP % b"2"),
    "not UTF-8": _metrics(b'{"step": 1, "loss": 1.0, "acc\xff": 1}', _STEP % b"2"),
    "deep line": _metrics(_STEP % b"1", deep_line().strip(), _STEP % b"2"),
    "5,000 digits": _metrics(_STEP % (b"9" * 5_000), _STEP % b"2"),
    "huge steps": _metrics(*(_STEP % n for n in (b"1e300", b"-1e300", b"%d" % 2**70, b"-5"))),
    "huge values": _metrics(
        *(b'{"step": %d, "loss": %se308}' % (n, sign) for n in range(40) for sign in (b"1", b"-1"))
    ),
    "words for values": _metrics(b'{"step": true, "loss": "low"}', b'{"step": "x", "loss": true}'),
    "late times": _metrics(
        b'{"step": 1, "loss": 1.0, "time": 1e300}', b'{"step": 2, "loss": 1.0, "time": -1e300}'
    ),
    "empty metrics": _metrics(),
    "metrics are a folder": _instead("metrics.jsonl", Path.mkdir),
    "metrics are a pipe": _instead("metrics.jsonl", os.mkfifo),
    "metrics are a socket": _instead("metrics.jsonl", _socket),
    "metrics are a device": _instead("metrics.jsonl", lambda p: p.symlink_to("/dev/zero")),
    "metrics are a loop": _instead("metrics.jsonl", lambda p: p.symlink_to(p.name)),
    "metrics are a dead link": _instead("metrics.jsonl", lambda p: p.symlink_to("nothing")),
    "state is a pipe": _instead("state.json", os.mkfifo),
    "state is a device": _instead("state.json", lambda p: p.symlink_to("/dev/zero")),
    "events are a pipe": _instead("events.jsonl", os.mkfifo),
    "hardware is a pipe": _instead("hardware.jsonl", os.mkfifo),
    "deep run.json": _file("run.json", b'{"x": ' + nested().encode() + b"}"),
    "run.json is not UTF-8": _file("run.json", b'{"id": "\xff\xfe", "name": "\xff"}'),
    "run.json is empty": _file("run.json", b""),
    "deep state.json": _file("state.json", b'{"x": ' + nested().encode() + b"}"),
    "late state": _state(updated_at=_LATE, eta_seconds=_LATE, step=2**70, total_steps=2**70),
    "deep event": _file("events.jsonl", deep_line(time=1.0, step=1, kind="warning")),
    "event is not UTF-8": _file("events.jsonl", b'{"time": 1, "step": 1, "kind": "\xff"}\n'),
    "late event": _file("events.jsonl", b'{"time": 1e300, "step": 1, "kind": "warning"}\n'),
    "deep sample": _file("hardware.jsonl", deep_line(time=1.0)),
    "deep notice": _file("notices.jsonl", deep_line()),
    "deep command": _file("control.jsonl", deep_line()),
    "deep data.json": _file("data.json", b'{"train": ' + nested().encode() + b"}"),
    "deep evaluation.json": _file("evaluation.json", b'{"x": ' + nested().encode() + b"}"),
    "best is not UTF-8": _file("checkpoints/best", b"\xff\xfe"),
    "text in a database is not UTF-8": _trackio(b"run \xff"),
    "late time in a database": _trackio(b"late", stamp=_LATE),
    "infinite time in a database": _trackio(b"late", stamp=float("inf")),
    "infinite step in a database": _trackio(b"far", step=float("inf")),
    "infinite time of an MLflow row": _mlflow_database(time=float("inf")),
    "infinite step of an MLflow row": _mlflow_database(step=float("inf")),
    "infinite start of an MLflow run": _mlflow_database(start=float("inf")),
    "number for the state of an MLflow run": _mlflow_database(status=7),
    "infinite time of an MLflow line": _mlflow_folder("inf 0.5 2"),
    "infinite step of an MLflow line": _mlflow_folder("2000 0.5 inf"),
    "4,000 digits in meta.yaml": _mlflow_folder("2000 0.5 2", f"start_time: {'9' * 4_000}"),
    "pipes beside an MLflow run": _mlflow_pipe,
    "deep row of a trainer": _trainer_state(
        f'{{"log_history": [{{"step": 1, "loss": 1.0}}, {{"x": {nested(900)}}}], "global_step": 1}}'
    ),
    "late steps of a trainer": _trainer_state(
        f'{{"log_history": [{{"step": {10**300}, "loss": 1.0}}], "global_step": {2**70}}}'
    ),
    "pipe beside a CSV": _csv_beside_a_pipe,
    "file name is not UTF-8": _bad_file_name,
}


def make_unreadable(root: Path, monkeypatch: Any) -> None:
    """A run whose reading fails with an error that nobody foresaw."""
    folder = make_good(root, "bad")
    from tui_trainer.watch.tables.metric_decoder import MetricDecoder

    feed = MetricDecoder.feed

    def fail(self: MetricDecoder, data: bytes) -> Any:
        if b"unforeseen" in data:
            raise KeyError("unforeseen")
        return feed(self, data)

    monkeypatch.setattr(MetricDecoder, "feed", fail)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 9, "unforeseen": 1}\n')
