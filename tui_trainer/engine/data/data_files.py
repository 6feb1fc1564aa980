"""Reading data files as objects, one per example: JSON lines, JSON, CSV and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError, reason_of

# The key under which `csv` puts the cells of a line that has more of them than the header.
BEYOND_HEADER = "cells beyond the header"


def read_objects(file: Path) -> Iterator[tuple[str, int, Any]]:
    """Yield (unit, number, value) for every example in a file, where the unit of the number is
    "line" or "row". Raises `UserError`."""
    for unit, number, value in _read(file, "strict"):
        if isinstance(value, UserError):
            raise UserError(f"{file.name} {value}")
        yield unit, number, value


def read_objects_tolerantly(
    file: Path, *, json_lines: bool = False
) -> Iterator[tuple[str, int, Any]]:
    """Yield the same, with a `UserError` as the value of a line that cannot be decoded. With
    `json_lines` the file has JSON lines whatever its suffix.

    Raises `UserError` for a file that cannot be read at all.
    """
    for unit, number, value in _read(file, "surrogateescape", json_lines=json_lines):
        if isinstance(value, dict) and not all(map(_is_unicode, value.values())):
            value = UserError(f"{unit} {number} is not valid UTF-8")
        yield unit, number, value


def _read(
    file: Path, on_bad_bytes: str, *, json_lines: bool = False
) -> Iterator[tuple[str, int, Any]]:
    suffix = file.suffix.lower()
    try:
        if json_lines or suffix in (".jsonl", ".ndjson"):
            yield from _read_jsonl(file)
        elif suffix == ".json":
            yield from _read_json(file)
        elif suffix == ".csv":
            yield from _read_csv(file, on_bad_bytes)
        else:
            yield from _read_parquet(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read: {error}") from error


def _is_unicode(value: Any) -> bool:
    """Return whether a text has no bytes that were not UTF-8; other values count as valid."""
    return not isinstance(value, str) or not any("\ud800" <= c <= "\udfff" for c in value)


def _read_jsonl(file: Path) -> Iterator[tuple[str, int, Any]]:
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                value = _decode(line, f"line {number}")
            except UserError as error:
                value = error
            yield "line", number, value


def _read_json(file: Path) -> Iterator[tuple[str, int, Any]]:
    values = _decode(file.read_bytes(), file.name)
    if not isinstance(values, list):
        raise UserError(f"{file.name}: a list of objects is needed, one object per example")
    for number, row in enumerate(values, start=1):
        yield "row", number, row


def _read_csv(file: Path, on_bad_bytes: str) -> Iterator[tuple[str, int, Any]]:
    with file.open(newline="", encoding="utf-8-sig", errors=on_bad_bytes) as stream:
        reader = csv.DictReader(stream, restkey=BEYOND_HEADER)
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                number = reader.reader.line_num  # that of `reader` counts lines it has returned
                if number <= 1:  # the header: no line after it can be read
                    raise
                yield "line", number, UserError(f"line {number}: {error}")
                continue
            present = {key: value for key, value in values.items() if value is not None}
            yield "line", reader.line_num, present


def _read_parquet(file: Path) -> Iterator[tuple[str, int, Any]]:
    try:
        import pyarrow.parquet  # an optional extra: it is large
    except ImportError:
        raise UserError(
            f'{file.name}: reading Parquet needs pyarrow: pip install "tui-trainer[parquet]"'
        ) from None
    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield "row", number, row
    except pyarrow.ArrowException as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{file} cannot be read as Parquet: {first}") from error


def _decode(data: bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except BAD_CONTENT as error:
        reason = reason_of(error).removeprefix("not JSON: ")
        raise UserError(f"{where} is not valid JSON: {reason}") from None
