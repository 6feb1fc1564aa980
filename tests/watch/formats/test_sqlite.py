"""The local stores of Trackio and MLflow, beside a writer that goes on writing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.watch.formats.reading import drain, points, read_run
from tui_trainer.watch.formats import registry, sqlite
from tui_trainer.watch.formats.mlflow import MlflowFolderSource
from tui_trainer.watch.formats.sqlite import MlflowDatabaseSource, TrackioSource
from tui_trainer.watch.runs.run_summary import SummaryReader
from tui_trainer.watch.scan import Scanner

# As Trackio 0.43 and MLflow 3.17 create them, without the tables that are not read.
TRACKIO = """
CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL,
    timestamp TEXT NOT NULL, run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL,
    log_id TEXT, space_id TEXT);
CREATE TABLE configs (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL,
    run_name TEXT NOT NULL, config TEXT NOT NULL, created_at TEXT NOT NULL, UNIQUE(run_id));
CREATE INDEX idx_metrics_run_step ON metrics(run_id, step);
"""
MLFLOW = """
CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(250),
    status VARCHAR(9), start_time BIGINT, lifecycle_stage VARCHAR(20));
CREATE TABLE metrics ("key" VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT NOT NULL,
    run_uuid VARCHAR(32) NOT NULL, step BIGINT DEFAULT '0' NOT NULL,
    is_nan BOOLEAN DEFAULT '0' NOT NULL,
    PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan));
CREATE TABLE params ("key" VARCHAR(250) NOT NULL, value VARCHAR(8000) NOT NULL,
    run_uuid VARCHAR(32) NOT NULL, PRIMARY KEY ("key", run_uuid));
"""
STAMP = "2026-11-21T13:58:35.500000+00:00"


def trackio(path: Path, runs: dict[str, int], wal: bool = True) -> sqlite3.Connection:
    writer = sqlite3.connect(path)
    if wal:
        writer.execute("PRAGMA journal_mode=wal")
    writer.executescript(TRACKIO)
    for run, count in runs.items():
        settings = json.dumps({"lr": 1e-4, "_Username": None}).encode()
        values = (f"id-{run}", run, settings, STAMP)
        writer.execute(
            "INSERT INTO configs (run_id, run_name, config, created_at) VALUES (?,?,?,?)", values
        )
        for step in range(count):
            log(writer, run, step)
    writer.commit()
    return writer


def log(writer: sqlite3.Connection, run: str, step: int) -> None:
    row: dict[str, object] = {"train/loss": step / 2, "eval/loss": "NaN"}
    writer.execute(
        "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES (?,?,?,?,?)",
        (f"id-{run}", STAMP, run, step, json.dumps(row).encode()),
    )


def test_several_runs_of_a_trackio_project(tmp_path: Path) -> None:
    with closing(trackio(tmp_path / "proj.db", {"a": 3, "b": 5})):
        found_locations = Scanner(tmp_path).scan().locations
        assert [(p.kind, p.name, p.id) for p in found_locations.values()] == [
            ("trackio", "a", "proj.db#id-a"), ("trackio", "b", "proj.db#id-b"),
        ]  # fmt: skip
        view = read_run(tmp_path / "proj.db", "trackio", "id-b")
        readers = [SummaryReader(location) for location in found_locations.values()]
        assert all(reader.read() for reader in readers)
        assert [reader.summary.step for reader in readers] == [2, 4]
    assert points(view.train, "loss") == [(s, s / 2) for s in range(5)]
    assert points(view.evals, "val_loss") == [(s, -1) for s in range(5)]
    assert points(view.train, "time")[0] == (0, 1795269515.5)
    assert view.config == {"lr": 1e-4}
    assert (view.summary.name, view.warnings) == ("b", ())


def test_new_rows_and_new_runs_appear_and_the_writer_is_never_held_up(tmp_path: Path) -> None:
    path = tmp_path / "proj.db"
    with closing(trackio(path, {"a": 2}, wal=False)) as writer:
        writer.execute("PRAGMA busy_timeout=0")
        source, scanner = TrackioSource(path, "id-a"), Scanner(tmp_path)
        for step in range(2, 6):
            log(writer, "a", step)  # the write is open while we read
            drain(source)
            writer.commit()
            drain(source)
            assert len(source.history.train.table()) == step + 1
        assert len(scanner.scan().locations) == 1
        log(writer, "new", 0)
        writer.commit()
        assert [p.name for p in scanner.scan().locations.values()] == ["a", "new"]
    assert source.warnings() == []


def test_more_rows_than_one_slice(tmp_path: Path) -> None:
    with closing(trackio(tmp_path / "p.db", {"a": 4000, "b": 10})):
        view = read_run(tmp_path / "p.db", "trackio", "id-a")
        assert points(view.train, "loss") == [(s, s / 2) for s in range(4000)]
        location = next(iter(Scanner(tmp_path).scan().locations.values()))
        reader = SummaryReader(location)
        reader.read()
        assert (reader.summary.step, reader.summary.loss) == (3999, 1999.5)


def mlflow(path: Path) -> sqlite3.Connection:
    writer = sqlite3.connect(path)
    writer.executescript(MLFLOW)
    writer.execute("INSERT INTO runs VALUES ('u1', 'one', 'FINISHED', 5000, 'active')")
    writer.execute("INSERT INTO runs VALUES ('u2', 'two', 'RUNNING', 6000, 'active')")
    writer.execute("INSERT INTO runs VALUES ('u3', 'gone', 'RUNNING', 6000, 'deleted')")
    writer.execute("INSERT INTO params VALUES ('lr', '1e-4', 'u1')")
    for step in range(4):
        for key, value, bad in (("train_loss", step / 2, 0), ("eval_loss", 0.0, 1)):
            writer.execute(
                "INSERT INTO metrics VALUES (?,?,?,?,?,?)",
                (key, value, 7000 + step, "u1", step, bad),
            )
    writer.commit()
    return writer


def test_runs_of_an_mlflow_database(tmp_path: Path) -> None:
    with closing(mlflow(tmp_path / "mlflow.db")):
        names = [location.name for location in Scanner(tmp_path).scan().locations.values()]
        assert names == ["one", "two"]
        view = read_run(tmp_path / "mlflow.db", "mlflow", "u1")
    assert points(view.train, "loss") == [(s, s / 2) for s in range(4)]
    assert points(view.train, "time")[0] == (0, 7.0)
    assert points(view.evals, "val_loss") == [(s, -1) for s in range(4)]
    assert view.config == {"params.lr": "1e-4"}
    assert (view.summary.status, view.summary.created_at) == ("completed", 5.0)


def test_a_database_that_is_cut_off_is_reported_and_breaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    mlflow(path).close()
    whole = path.read_bytes()
    source = MlflowDatabaseSource(path, "u1")
    drain(source)
    for size in range(0, len(whole), 997):
        path.write_bytes(whole[:size])
        Scanner(tmp_path).scan()
        drain(source)
        assert len(source.history.train.table()) == 4
    path.write_bytes(whole[:5000])
    drain(source)
    assert len(source.warnings()) == 1
    assert source.warnings()[0].startswith("mlflow.db: cannot be read: ")


def test_another_programs_database_is_no_run(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as writer:
        writer.execute("CREATE TABLE metrics (a, b)")
        writer.commit()
    (tmp_path / "y.db").write_bytes(b"no database")
    assert sqlite.tool_of(tmp_path / "x.db") is None
    assert not Scanner(tmp_path).scan().locations


def store(folder: Path, **metrics: str) -> Path:
    run = folder / "123" / "abc"
    for name, content in metrics.items():
        path = run / "metrics" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "123" / "meta.yaml").write_text("experiment_id: '123'\nname: exp\n")
    (run / "params").mkdir()
    (run / "params" / "rank").write_text("8")
    meta = "run_id: abc\nrun_name: brave-bird\nstart_time: 5000\nstatus: 1\n"
    (run / "meta.yaml").write_text(meta)
    return run


def test_mlflows_files(tmp_path: Path) -> None:
    run = store(
        tmp_path / "mlruns",
        train_loss="1000 2.0 0\n2000 nan 1\n3000 1.0 2\n",
        eval__loss="2500 3.0 1\n",
    )
    assert [p.id for p in Scanner(tmp_path).scan().locations.values()] == ["mlruns/123/abc"]
    view = read_run(run, "mlflow")
    assert points(view.train, "loss") == [(0, 2), (1, -1), (2, 1)]
    assert points(view.evals, "val_loss") == [(1, 3)]
    assert points(view.train, "time") == [(0, 1), (1, 2), (2, 3)]
    assert (view.summary.name, view.config) == ("brave-bird", {"params.rank": "8"})
    (run / "meta.yaml").write_text("run_id: abc\nstatus: 4\n")
    assert read_run(run, "mlflow").summary.status == "failed"


def test_mlflows_files_grow_and_go_back(tmp_path: Path) -> None:
    run = store(tmp_path, train_loss="1000 2.0 0\n2000 1.5 1\n", lr="1000 0.1 0\n2000 0.1 1\n")
    source = MlflowFolderSource(run)
    drain(source)
    with (run / "metrics" / "train_loss").open("a") as file:
        file.write("3000 9.0 0\nwhat is this\n4000 8")
    drain(source)
    assert points(source.history.train.table(), "loss") == [(0, 9)]
    assert points(source.history.train.table(), "learning_rate") == [], "gone back over"
    with (run / "metrics" / "train_loss").open("a") as file:
        file.write(".0 2\n")
    drain(source)
    assert points(source.history.train.table(), "loss") == [(0, 9), (2, 8)]
    assert source.warnings() == ["metrics: 1 line is not time, value and step"]


def test_a_write_to_one_run_is_no_change_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "proj.db"
    with closing(trackio(path, {"a": 3, "b": 3})) as writer:
        first, second = Scanner(tmp_path).scan().locations.values()
        before = registry.stamp(first), registry.stamp(second)
        assert before[0][2] == 1795269515_500000000, "the time of its own newest row"
        log(writer, "b", 3)
        writer.commit()
        assert registry.stamp(first) == before[0]
        assert registry.stamp(second) != before[1]
    with closing(mlflow(tmp_path / "mlflow.db")) as writer:
        location = next(p for p in Scanner(tmp_path).scan().locations.values() if p.name == "one")
        stamp = registry.stamp(location)
        writer.execute("UPDATE runs SET status = 'FAILED' WHERE run_uuid = 'u1'")
        writer.commit()
        assert registry.stamp(location) != stamp, "its end is a change too"
