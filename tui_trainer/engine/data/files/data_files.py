"""Reading data files as objects, one per example: JSON, tables, Parquet and Arrow, also compressed.

What is in a file decides how it is read; its name only where that leaves a doubt.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.files import opening
from tui_trainer.engine.data.files.columnar import read_columnar
from tui_trainer.engine.data.files.hub import read_hub
from tui_trainer.engine.data.files.json_values import read_json
from tui_trainer.engine.data.files.tables import read_table
from tui_trainer.engine.data.files.values import NOT_OBJECT, NOT_UTF8, Unreadable, Values
from tui_trainer.store.data_sources import hub_dataset

__all__ = ["Unreadable", "read_objects", "read_objects_tolerantly"]


def read_objects(file: Path) -> Values:
    """Yield (unit, number, value) for every example in a file, where the unit of the number is
    "line" or "row", and the value `Unreadable` where there is no object that can be decoded.

    Raises `UserError` for a file without any that can be, and for one in another encoding.
    """
    readable, unreadable = 0, ""
    other_characters = False  # whether there are any beyond ASCII, in UTF-8
    for unit, number, value in _read(file):
        if not isinstance(value, dict | Unreadable):
            value = Unreadable(NOT_OBJECT, f"{type(value).__name__}")
        if isinstance(value, Unreadable):
            if value.reason == NOT_UTF8 and not other_characters:
                byte = int(value.detail.rpartition("0x")[2], 16)
                raise opening.not_utf8(file, byte, f"{unit} {number}")
            unreadable = unreadable or f"{unit} {number}: {value.text()}"
        else:
            readable += 1
            other_characters = other_characters or not _is_ascii(value)
        yield unit, number, value
    if unreadable and not readable:
        raise UserError(f"{file.name} has no row that can be read; {unreadable}")


def read_objects_tolerantly(file: Path, *, json_lines: bool = False) -> Values:
    """Yield the same, with a `UserError` as the value of an example that cannot be decoded. With
    `json_lines` the file has JSON whatever its name.

    Raises `UserError` for a file that cannot be read at all.
    """
    for unit, number, value in _read(file, json_lines=json_lines):
        if isinstance(value, Unreadable):
            value = UserError(f"{unit} {number}: {value.text()}")
        yield unit, number, value


def _read(file: Path, *, json_lines: bool = False) -> Values:
    dataset = hub_dataset(file)
    if dataset is not None:
        yield from read_hub(dataset, str(file))
        return
    try:
        with opening.opened(file, json_lines=json_lines) as found:
            if found.format == "json":
                yield from read_json(found.stream, file)
            elif found.format == "table":
                yield from read_table(found.stream, file)
            else:
                yield from read_columnar(file, found.format, compressed=found.compressed)
    except (OSError, csv.Error) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    except opening.DAMAGED as error:
        raise UserError(f"{file} is damaged or not complete: {error}") from error


def _is_ascii(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii()
    if isinstance(value, dict):
        return all(map(str.isascii, value)) and all(map(_is_ascii, value.values()))
    return not isinstance(value, list) or all(map(_is_ascii, value))
