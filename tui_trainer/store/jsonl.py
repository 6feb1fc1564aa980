"""Reading JSON lines: one record per line, from a whole file, its end, or a growing file.

Blank lines are skipped. A last line without a line feed may be incomplete: reading a growing file
leaves it for the next read, reading a whole file uses it if it can be decoded. Other lines that are
not records are counted, and the first of them are kept.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, reason_of
from tui_trainer.store.regular_files import open_regular, without_mark
from tui_trainer.text import formats

T = TypeVar("T")

LONGEST_LINE = 64 * 1024 * 1024  # bytes; longer than any record
TAIL_BYTES = 64 * 1024  # about 250 training rows
_SLICE = 1024 * 1024  # bytes read at a time
_MOST_NAMED = 20


class JsonLine(NamedTuple):
    """One line that is not blank, without its line feed."""

    number: int  # from 1, counted from where reading started
    data: bytes  # empty if the line is too long
    complete: bool = True  # whether it ends with a line feed
    problem: str = ""  # not empty if the line is too long


class BadJsonLine(NamedTuple):
    """A line that is not a record of the expected type."""

    number: int  # from 1, counted from where reading started
    reason: str  # why it cannot be decoded, one line


class LineReader:
    """The lines of a growing file, each once, read in slices."""

    def __init__(self, path: Path, offset: int = 0, longest: int = LONGEST_LINE) -> None:
        """`offset` is the first byte of the line to start at. A line of more than `longest` bytes
        is skipped, and yielded without data."""
        self.path = path
        self.offset = offset  # bytes, after the last line that was yielded
        self._path = str(path)
        self._longest = longest
        self._number = 0
        self._skipping = False  # inside a line that is too long

    def has_more(self) -> bool:
        """Whether the file has grown since the last read, or is not a regular file. Costs one
        `stat`. Raises `OSError`."""
        status = os.stat(self._path)  # noqa: PTH116  faster; called at every step
        return status.st_size > self.offset or not stat.S_ISREG(status.st_mode)

    def read(self, *, last: bool = False) -> Iterator[JsonLine]:
        """Yield the lines appended since the last read; with `last` also one without a line feed.
        Raises `OSError`, also if the file is not a regular file."""
        with open_regular(self.path) as file:
            file.seek(self.offset)
            pending = b""
            while data := file.read(_SLICE):
                data = pending + data if pending else data
                end = data.rfind(b"\n") + 1
                if end:
                    for line in data[: end - 1].split(b"\n"):
                        self.offset += len(line) + 1
                        self._number += 1
                        if self._skipping:
                            self._skipping = False  # it was yielded at its start
                        elif len(line) >= self._longest:
                            yield self._too_long(self._number)
                        elif line.strip():
                            yield JsonLine(self._number, line)
                pending = data[end:] if end else data
                if len(pending) >= self._longest or self._skipping:
                    self.offset += len(pending)
                    if not self._skipping:
                        self._skipping = True
                        yield self._too_long(self._number + 1)
                    pending = b""
        if last and pending.strip():
            self.offset += len(pending)
            self._number += 1
            yield JsonLine(self._number, pending, complete=False)

    def _too_long(self, number: int) -> JsonLine:
        return JsonLine(number, b"", problem=f"longer than {formats.size(self._longest)}")


class RecordDecoder(Generic[T]):
    """Decodes lines, counts those that are not a record of `kind`, and keeps the first of them."""

    def __init__(self, kind: type[T] | Any) -> None:
        self.bad: list[BadJsonLine] = []  # the first of them
        self.bad_count = 0
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def decode(self, lines: Iterable[JsonLine]) -> Iterator[T]:
        """Yield the records, in order."""
        for line in lines:
            if line.problem:
                self._note(line.number, line.problem)
                continue
            try:
                record = self._decoder.decode(
                    line.data if line.number > 1 else without_mark(line.data)
                )
            except BAD_CONTENT as error:
                if line.complete:  # otherwise it is being written, or its writer was killed
                    self._note(line.number, reason_of(error))
            else:
                yield record

    def _note(self, number: int, reason: str) -> None:
        self.bad_count += 1
        if len(self.bad) < _MOST_NAMED:
            self.bad.append(BadJsonLine(number, reason))


class RecordReader(Generic[T]):
    """The records of a growing file, each once."""

    def __init__(
        self, path: Path, kind: type[T] | Any, offset: int = 0, longest: int = LONGEST_LINE
    ) -> None:
        """`kind` is what each line is decoded as; `offset` and `longest` as of `LineReader`."""
        self._lines = LineReader(path, offset, longest)
        self._decoder: RecordDecoder[T] = RecordDecoder(kind)

    @property
    def offset(self) -> int:
        """Bytes read, up to the end of the last complete line."""
        return self._lines.offset

    @property
    def bad(self) -> list[BadJsonLine]:
        """The first of the lines that are not records."""
        return self._decoder.bad

    @property
    def bad_count(self) -> int:
        """How many lines are not records."""
        return self._decoder.bad_count

    def new(self) -> list[T]:
        """The records appended since the last call. Raises `OSError`."""
        if not self._lines.has_more():
            return []
        return list(self._decoder.decode(self._lines.read()))


class JsonRecords(NamedTuple, Generic[T]):
    """The content of a file."""

    records: list[T]  # in order
    bad: list[BadJsonLine]  # the first of the lines that are not records
    bad_count: int  # how many lines are not records


@overload
def read_records(path: Path, kind: type[T], *, last: bool = True) -> JsonRecords[T]: ...
@overload
def read_records(path: Path, kind: Any, *, last: bool = True) -> JsonRecords[Any]: ...
def read_records(path: Path, kind: Any, *, last: bool = True) -> JsonRecords[Any]:
    """All records of a file; without `last`, a last line without a line feed is left out.

    Raises `OSError`, also if the file is not a regular file.
    """
    decoder: RecordDecoder[Any] = RecordDecoder(kind)
    records = list(decoder.decode(LineReader(path).read(last=last)))
    return JsonRecords(records, decoder.bad, decoder.bad_count)


def decode_records(data: bytes, kind: type[T]) -> list[T]:
    """The records in `data`; other lines are left out."""
    return list(RecordDecoder[T](kind).decode(split_lines(data)))


@overload
def newest_records(path: Path, kind: type[T], tail: int = ...) -> Iterator[T]: ...
@overload
def newest_records(path: Path, kind: Any, tail: int = ...) -> Iterator[Any]: ...
def newest_records(path: Path, kind: Any, tail: int = TAIL_BYTES) -> Iterator[Any]:
    """Yield the records in the last `tail` bytes of a file, newest first; other lines are left
    out. Raises `OSError`."""
    with open_regular(path) as file:
        start = max(0, os.fstat(file.fileno()).st_size - tail - 1)
        file.seek(start)
        data = file.readall()
    lines = list(split_lines(data[data.find(b"\n") + 1 :] if start else data))
    yield from RecordDecoder[Any](kind).decode(reversed(lines))


def split_lines(data: bytes) -> Iterator[JsonLine]:
    """Yield the lines in `data`, numbered from 1."""
    *lines, rest = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield JsonLine(number, line)
    if rest.strip():
        yield JsonLine(len(lines) + 1, rest, complete=False)
