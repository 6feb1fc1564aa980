"""Delimited tables (CSV) as objects, one per line after the header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.files import values as found
from tui_trainer.engine.data.files.values import LONGEST, Unreadable, Values
from tui_trainer.text.delimited import delimiter
from tui_trainer.text.formats import one_line

# The key of the cells of a line that has more of them than the header.
BEYOND_HEADER = "cells beyond the header"
_LONGEST_NAME = 100  # characters
_SHOWN = 40  # characters of a header's cell in an error


def read_table(stream: io.BufferedReader, file: Path) -> Values:
    """Yield the lines of a table. The delimiter is that of the header. Raises `UserError` for a
    table without a header of distinct names."""
    if csv.field_size_limit() < LONGEST:
        csv.field_size_limit(LONGEST)
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _read(text, file)
    finally:
        text.detach()  # closed by who opened it


def _read(text: io.TextIOWrapper, file: Path) -> Values:
    first, skipped = "", 0
    while not first.strip("\r\n\t ,;|"):
        first = text.readline(LONGEST)
        if not first:
            return
        skipped += 1
    skipped -= 1
    separator = delimiter(first)
    reader = csv.reader(
        _chained(first, text),
        delimiter=separator,
        # In quotation marks after a blank is a cell only where blanks follow the delimiters.
        skipinitialspace=f"{separator} " in first,
        strict=True,
    )
    try:
        header = next(reader)
    except csv.Error as error:
        raise UserError(f"{file.name} line {skipped + 1} is no header: {error}") from None
    names = _names(header, f"{file.name} line {skipped + 1}")
    while True:
        start = reader.line_num + skipped + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            end = reader.line_num + skipped
            if "unexpected end" in str(error) or "field larger" in str(error):
                raise UserError(
                    f"{file.name} line {start} opens a quotation mark that is never closed, so "
                    "that the lines after it cannot be read: close it, or write it twice"
                ) from None
            lines = f" in lines {start} to {end}" if end > start else ""
            yield "line", end, Unreadable(found.BAD_QUOTES, f"{error}{lines}")
            continue
        number = reader.line_num + skipped
        if cells:
            yield "line", number, _row(names, cells)


def _chained(first: str, rest: io.TextIOWrapper) -> Iterator[str]:
    yield first
    while line := rest.readline(2 * LONGEST):
        yield line


def _names(header: list[str], where: str) -> list[str]:
    names = [name.strip() or f"column {at}" for at, name in enumerate(header, start=1)]
    for at, name in enumerate(names):
        if any("\udc80" <= c <= "\udcff" for c in name):
            break  # in another encoding, as the lines after it will be
        if name in names[:at]:
            raise UserError(
                f"{where} names the column {name!r} twice: rename or delete one of them"
            )
    if all(_is_number(name) for name in names) or any(len(n) > _LONGEST_NAME for n in names):
        raise UserError(
            f"{where} is no header ({one_line(names[0], _SHOWN)!r}): the first line must name the "
            "columns, such as question,answer"
        )
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _row(names: list[str], cells: list[str]) -> object:
    for cell in cells:
        if "\0" in cell:
            return Unreadable(found.NUL)
        bad = next((c for c in cell if "\udc80" <= c <= "\udcff"), "") if not cell.isascii() else ""
        if bad:
            return Unreadable(found.NOT_UTF8, f"byte 0x{ord(bad) - 0xDC00:02X}")
    row: dict[str, object] = dict(zip(names, cells, strict=False))
    if len(cells) > len(names):
        row[BEYOND_HEADER] = cells[len(names) :]
    return row
