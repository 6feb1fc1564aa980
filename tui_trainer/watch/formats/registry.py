"""The formats of other tools' runs: how each is detected and read, and the name of its tool."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

from tui_trainer.store.regular_files import read_regular
from tui_trainer.watch.formats import (
    csvlog,
    mlflow,
    output_folder,
    sqlite,
    tensorboard,
    trainer_state,
    wandb,
)
from tui_trainer.watch.formats.database_heads import DatabaseHeads
from tui_trainer.watch.formats.encodings.crc32c import crc32c, masked
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.tables.list_summary import peek_of
from tui_trainer.watch.tables.metrics_file import MetricsFile
from tui_trainer.watch.tables.source import Source, SourcePeek

Stamp = tuple[int, ...]
_database_heads = DatabaseHeads()
_PEEKED_SLICES = 12
_TOOLS = {
    "jsonl": "JSON lines",
    "trainer_state": "transformers",
    "tensorboard": "TensorBoard",
    "wandb": "W&B",
    "trackio": "Trackio",
    "mlflow": "MLflow",
}
_LOG_HISTORY = re.compile(rb'"log_history"\s*:\s*\[')
_HEAD_BYTES = 16 * 1024

FILES: dict[str, Callable[[bytes], bool]] = {
    ".json": lambda head: _LOG_HISTORY.search(head) is not None,
    ".csv": csvlog.holds_metrics,
    ".tsv": csvlog.holds_metrics,
    ".wandb": lambda head: head.startswith(wandb.MAGIC),
}
KINDS = {".json": "trainer_state", ".csv": "csv", ".tsv": "csv", ".wandb": "wandb"}
DATABASES = (".db", ".sqlite", ".sqlite3")


def open_source(location: RunLocation, ends_only: bool = False) -> Source:
    """The reader of a run; with `ends_only` for the beginning and the end of large files."""
    file = location.metrics
    if location.kind == "trainer_state":
        if file.is_dir():
            return output_folder.OutputFolderSource(file)
        return trainer_state.TrainerStateSource(file)
    if location.kind == "tensorboard":
        return tensorboard.TensorBoardSource(file, ends_only)
    if location.kind == "wandb":
        return wandb.WandbSource(file, ends_only)
    if location.kind == "csv":
        return csvlog.CsvSource(file, ends_only)
    if location.kind == "trackio":
        return sqlite.TrackioSource(file, location.part, ends_only)
    if location.kind == "mlflow":
        if location.part:
            return sqlite.MlflowDatabaseSource(file, location.part, ends_only)
        return mlflow.MlflowFolderSource(file, ends_only)
    return MetricsFile(file)


def detect(path: Path) -> str | None:
    """The kind of run that a file is, by its content; None for no run. Raises `OSError`.

    Databases are detected by `sqlite.tool_of`, folders by the scanner.
    """
    suffix = path.suffix.lower()
    if suffix in FILES:
        return KINDS[suffix] if FILES[suffix](read_regular(path, _HEAD_BYTES)) else None
    return "tensorboard" if tensorboard.MARK in path.name and is_event_file(path) else None


def is_event_file(path: Path) -> bool:
    """Whether a file begins with a TFRecord. Raises `OSError`."""
    head = read_regular(path, 12)
    return len(head) == 12 and masked(crc32c(head[:8])) == struct.unpack("<I", head[8:])[0]


def peek(location: RunLocation) -> SourcePeek:
    """The summary of another tool's run, from files up to 192 KiB, and the beginning and the end
    of larger ones. `stamp` tells whether anything changed since. Raises `OSError`."""
    source = open_source(location, ends_only=True)
    for _ in range(_PEEKED_SLICES):
        if not source.read()[1]:
            source.settle()
            return peek_of(source.history, source.facts(), getattr(source, "whole", True))
    return peek_of(source.history, source.facts(), whole=False)


def files_of(location: RunLocation) -> list[Path]:
    """The files whose change is a change of the run."""
    file = location.metrics
    if location.kind == "trainer_state":
        logs = output_folder.newest_logs(file) if file.is_dir() else None
        events = tensorboard.event_files(logs) if logs is not None else []
        return [*trainer_state.state_files(file), *events]
    if location.kind == "tensorboard":
        return tensorboard.event_files(file)
    if location.kind in ("trackio", "mlflow") and location.part:
        return [file, file.with_name(file.name + "-wal")]
    if location.kind == "mlflow":
        return [file / mlflow.META, *mlflow.metric_files(file)]
    return [file]


def stamp(location: RunLocation) -> Stamp:
    """Number of files, their total size, and the newest modification time (ns); empty where there
    are none."""
    if location.part:
        head = _database_heads.of(location.metrics, location.kind, location.part)
        if head is not None:
            return (1, *head)
    sizes, newest, count = 0, 0, 0
    for path in files_of(location):
        try:
            status = path.stat()
        except OSError:
            continue
        count += 1
        sizes += status.st_size
        newest = max(newest, status.st_mtime_ns)
    return (count, sizes, newest) if count else ()


def tool(location: RunLocation) -> str:
    """The usual name of the tool that wrote the run."""
    if location.kind != "csv":
        return _TOOLS[location.kind]
    if (location.path.parent / "hparams.yaml").exists():
        return "Lightning CSV"
    try:
        head = read_regular(location.path, 4096).split(b"\n", 1)[0].decode("utf-8", "replace")
    except OSError:
        return "CSV"
    cells = {cell.strip().lower() for cell in re.split(r"[,;\t]", head)}
    if {"epoch", "step"} <= cells and location.path.name == "metrics.csv":
        return "Lightning CSV"
    return "Keras CSV" if "epoch" in cells and "step" not in cells else "CSV"
