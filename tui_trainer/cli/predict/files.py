"""Writing predictions: JSONL, CSV or Parquet, each row as soon as it is predicted.

Every format has the same fields: the row's number in the file that was read, its text, and what was
predicted or why nothing was. Rows have the order of the file.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tui_trainer.cli.common import output
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Task
from tui_trainer.contracts.predict import Prediction
from tui_trainer.store import atomic

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")
_PREDICTED: dict[Task, tuple[str, ...]] = {
    "classification": ("label", "probability", "probabilities"),
    "causal-lm": ("answer",),
}


class PredictionWriter(Protocol):
    """Where predictions go."""

    def write(self, rows: Sequence[Prediction]) -> None:
        """Write the next rows. Raises `UserError`."""

    def finish(self) -> str:
        """Keep what is written; return where it is. Raises `UserError`."""


class StdoutWriter:
    """JSONL to standard output."""

    def write(self, rows: Sequence[Prediction]) -> None:
        """Print a line for each row."""
        for row in rows:
            output.data(msgspec.json.encode(_fields(row)).decode())

    def finish(self) -> str:
        """The name of standard output."""
        return "standard output"


class _Encoder(Protocol):
    def encode(self, rows: Sequence[Prediction]) -> None:
        """Write rows into the file."""

    def close(self) -> None:
        """Write the end of the file, and close it."""


class FileWriter:
    """A file: written under a temporary name, flushed and renamed by `finish`."""

    def __init__(self, path: Path, task: Task) -> None:
        """Raises `UserError`."""
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
        kind = path.suffix.lower()
        try:
            if kind == ".csv":
                self._encoder: _Encoder = _Csv(self._temporary, task)
            elif kind == ".parquet":
                self._encoder = _Parquet(self._temporary, task)
            else:
                self._encoder = _Jsonl(self._temporary)
        except OSError as error:
            raise self._failed(error) from None
        self._rows = 0

    def write(self, rows: Sequence[Prediction]) -> None:
        """Write the next rows. Raises `UserError`."""
        try:
            self._encoder.encode(rows)
        except OSError as error:
            raise self._failed(error) from None
        self._rows += len(rows)

    def finish(self) -> str:
        """Rename the file, if it has rows; return its path. Raises `UserError`."""
        try:
            self._encoder.close()
            if self._rows:
                atomic.sync_file(self._temporary)
                self._temporary.replace(self._path)
                atomic.sync_dir(self._path.parent)
        except OSError as error:
            raise self._failed(error) from None
        return str(self._path)

    def discard(self) -> None:
        """Delete the temporary file, if it is left."""
        self._temporary.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> UserError:
        return UserError(f"{self._path} cannot be written: {error.strerror or error}", 1)


@contextmanager
def open_writer(path: Path | None, task: Task) -> Iterator[PredictionWriter]:
    """The writer for a file by its suffix, or for standard output. Raises `UserError`."""
    if path is None:
        yield StdoutWriter()
        return
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"-o {path}: end its name in one of {', '.join(SUFFIXES)}")
    writer = FileWriter(path, task)
    try:
        yield writer
    finally:
        writer.discard()


def _fields(row: Prediction) -> dict[str, Any]:
    """The fields of a row that have a value."""
    values: dict[str, Any] = msgspec.to_builtins(row)
    values.pop("cut", None)
    return values


class _Jsonl:
    def __init__(self, file: Path) -> None:
        self._stream = file.open("xb")

    def encode(self, rows: Sequence[Prediction]) -> None:
        self._stream.writelines(msgspec.json.encode(_fields(row)) + b"\n" for row in rows)

    def close(self) -> None:
        self._stream.close()


class _Csv:
    """Probabilities are a JSON object in one cell."""

    def __init__(self, file: Path, task: Task) -> None:
        self._stream = file.open("x", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._stream, ["row", "input", *_PREDICTED[task], "error"])
        self._writer.writeheader()

    def encode(self, rows: Sequence[Prediction]) -> None:
        for row in rows:
            values = _fields(row)
            if row.probabilities is not None:
                values["probabilities"] = msgspec.json.encode(row.probabilities).decode()
            self._writer.writerow(values)

    def close(self) -> None:
        self._stream.close()


class _Parquet:
    """Probabilities are a map."""

    def __init__(self, file: Path, task: Task) -> None:
        try:
            import pyarrow
            import pyarrow.parquet  # an optional extra: it is large
        except ImportError:
            raise UserError(
                'writing Parquet needs pyarrow: pip install "tui-trainer[parquet]"', 1
            ) from None
        text = pyarrow.string()
        types = {
            "label": text,
            "probability": pyarrow.float64(),
            "probabilities": pyarrow.map_(text, pyarrow.float64()),
            "answer": text,
        }
        predicted = [(name, types[name]) for name in _PREDICTED[task]]
        self._schema = pyarrow.schema(
            [("row", pyarrow.int64()), ("input", text), *predicted, ("error", text)]
        )
        self._table = pyarrow.Table
        self._stream: io.BufferedWriter = file.open("xb")
        self._writer = pyarrow.parquet.ParquetWriter(self._stream, self._schema)

    def encode(self, rows: Sequence[Prediction]) -> None:
        values = []
        for row in rows:
            fields = _fields(row)
            if row.probabilities is not None:
                fields["probabilities"] = list(row.probabilities.items())
            values.append({name: fields.get(name) for name in self._schema.names})
        self._writer.write_table(self._table.from_pylist(values, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
        self._stream.close()
