"""Reading JSON lines: one record a line, from a whole file, its end, or as it grows.

A line that holds nothing but blanks is skipped. A last line without a line feed may still be
under way: reading as a file grows leaves it for the next look, reading a whole file takes it
where it is complete. Other lines that are no record are counted, and the first of them named.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, reason_of
from tui_trainer.store.regular_files import open_regular

T = TypeVar("T")

LONGEST_LINE = 64 * 1024 * 1024  # bytes; no record of ours is longer
TAIL_BYTES = 64 * 1024  # some 250 training rows
_SLICE = 1024 * 1024  # bytes read at a time
_MOST_NAMED = 20


class JsonLine(NamedTuple):
    """One line that is not blank, without its line feed."""

    number: int  # in the file; 1 is the first. After a start inside the file: from there
    data: bytes  # empty where the line is too long
    complete: bool = True  # ends with a line feed
    problem: str = ""  # why it cannot be decoded whatever it holds: it is too long


class BadJsonLine(NamedTuple):
    """A line that is no record of its file's kind."""

    number: int  # in the file; 1 is the first
    reason: str  # one line


class LineReader:
    """The lines of a file that grows, each once, in slices."""

    def __init__(self, path: Path, offset: int = 0, longest: int = LONGEST_LINE) -> None:
        """`offset` is the byte to start at, the first of a line; a line of more than `longest`
        bytes is passed over and named."""
        self.path = path
        self.offset = offset  # bytes, behind the last line that was given
        self._path = str(path)
        self._longest = longest
        self._number = 0
        self._skipping = False  # inside a line that is too long

    def has_more(self) -> bool:
        """Whether the file is longer than what was read, or no regular file: one `stat`. Raises
        `OSError`."""
        status = os.stat(self._path)  # noqa: PTH116  the engine asks at every step
        return status.st_size > self.offset or not stat.S_ISREG(status.st_mode)

    def read(self, *, last: bool = False) -> Iterator[JsonLine]:
        """The lines that were appended since; with `last` also one without a line feed. Raises
        `OSError`, also for what is no regular file."""
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
                            self._skipping = False  # it was named at its start
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
        return JsonLine(number, b"", problem=f"longer than {self._longest // 1024:,} KiB")


class RecordDecoder(Generic[T]):
    """Decodes lines, and counts and names those that are no record of `kind`."""

    def __init__(self, kind: type[T] | Any) -> None:
        self.bad: list[BadJsonLine] = []  # the first of them
        self.bad_count = 0
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def decode(self, lines: Iterable[JsonLine]) -> Iterator[T]:
        """The records, in order."""
        for line in lines:
            if line.problem:
                self._note(line.number, line.problem)
                continue
            try:
                record = self._decoder.decode(line.data)
            except BAD_CONTENT as error:
                if line.complete:  # else it is under way, or its writer was killed
                    self._note(line.number, reason_of(error))
            else:
                yield record

    def _note(self, number: int, reason: str) -> None:
        self.bad_count += 1
        if len(self.bad) < _MOST_NAMED:
            self.bad.append(BadJsonLine(number, reason))


class RecordReader(Generic[T]):
    """The records of a file that grows, each once."""

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
        """The first of the lines that are no record."""
        return self._decoder.bad

    @property
    def bad_count(self) -> int:
        """How many lines are no record."""
        return self._decoder.bad_count

    def new(self) -> list[T]:
        """The records that were appended since. Raises `OSError`."""
        if not self._lines.has_more():
            return []
        return list(self._decoder.decode(self._lines.read()))


class JsonRecords(NamedTuple, Generic[T]):
    """What was read from a file."""

    records: list[T]
    bad: list[BadJsonLine]  # the first of the lines that are no record
    bad_count: int  # how many lines are no record


@overload
def read_records(path: Path, kind: type[T], *, last: bool = True) -> JsonRecords[T]: ...
@overload
def read_records(path: Path, kind: Any, *, last: bool = True) -> JsonRecords[Any]: ...
def read_records(path: Path, kind: Any, *, last: bool = True) -> JsonRecords[Any]:
    """Every record of a file; without `last`, a line that has no line feed yet is left out.

    Raises `OSError`, also for what is no regular file.
    """
    decoder: RecordDecoder[Any] = RecordDecoder(kind)
    records = list(decoder.decode(LineReader(path).read(last=last)))
    return JsonRecords(records, decoder.bad, decoder.bad_count)


def decode_records(data: bytes, kind: type[T]) -> list[T]:
    """The records in bytes that were read already; what is no record is left out."""
    return list(RecordDecoder[T](kind).decode(split_lines(data)))


@overload
def newest_records(path: Path, kind: type[T], tail: int = ...) -> Iterator[T]: ...
@overload
def newest_records(path: Path, kind: Any, tail: int = ...) -> Iterator[Any]: ...
def newest_records(path: Path, kind: Any, tail: int = TAIL_BYTES) -> Iterator[Any]:
    """The records in the last `tail` bytes of a file, newest first; what is no record is left
    out. Raises `OSError`."""
    with open_regular(path) as file:
        start = max(0, os.fstat(file.fileno()).st_size - tail - 1)
        file.seek(start)
        data = file.readall()
    lines = list(split_lines(data[data.find(b"\n") + 1 :] if start else data))
    yield from RecordDecoder[Any](kind).decode(reversed(lines))


def split_lines(data: bytes) -> Iterator[JsonLine]:
    """The lines in bytes that were read already, numbered from 1."""
    *lines, rest = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield JsonLine(number, line)
    if rest.strip():
        yield JsonLine(len(lines) + 1, rest, complete=False)
