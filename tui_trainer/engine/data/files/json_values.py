"""JSON lines, a list of objects, or an object that has the list, whatever the file's name.

Lines are read one by one and a list element by element, so that memory does not grow with the file.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError, reason_of
from tui_trainer.engine.data.files import values as found
from tui_trainer.engine.data.files.opening import BOM, not_utf8
from tui_trainer.engine.data.files.values import LONGEST, Unreadable, Values
from tui_trainer.engine.data.known_fields import ANSWERS, CONVERSATIONS, QUESTIONS
from tui_trainer.text.formats import size

_SLICE = 1 << 20  # bytes
_LARGEST_OBJECT = 512 << 20  # bytes of one object that has a list of all examples
_BLANK = b" \t\r\n"
_SPACE = re.compile(r"[ \t\r\n]*")
_NON_FINITE = (b"NaN", b"Infinity")
_ROW_FIELDS = frozenset({"text", *CONVERSATIONS, *QUESTIONS, *ANSWERS})
_OF_TURNS = ("role", "from", "function", "type")  # an object with one is part of a row
_CUT = ("Unterminated string", "Invalid \\")  # errors of a value that the buffer cuts
_decode_next = json.JSONDecoder().raw_decode


def read_json(stream: io.BufferedReader, file: Path) -> Values:
    """Yield the examples of a file. Raises `UserError` where it cannot be known where the next one
    starts."""
    if stream.peek(len(BOM)).startswith(BOM):
        stream.read(len(BOM))
    lines = _Lines(stream)
    if lines.following() == b"[":
        yield from _read_list(_Buffer(stream, file), file)
        return
    line, number = lines.next_filled()
    value = lines.decode(line)
    if isinstance(value, Unreadable) and value.reason == found.NOT_JSON and line[:1] == b"{":
        buffer = _Buffer(stream, file, line)
        first = buffer.first_object()
        if first is not None:  # an object on several lines
            yield from _read_objects(first, buffer, file)
            return
        lines.push_back(buffer.rest())
    elif line and not lines.following():
        yield from _examples(value, file, number, "line")
        return
    while line:
        yield "line", number, lines.decode(line)
        line, number = lines.next_filled()


def decode_line(line: bytes, *, last: bool = False) -> Any:
    """Return the value of a line, or `Unreadable`. Unlike JSON, NaN and Infinity are numbers."""
    if len(line) > LONGEST:
        return Unreadable(found.TOO_LONG)
    try:
        return msgspec.json.decode(line)
    except BAD_CONTENT as error:
        if any(name in line for name in _NON_FINITE):
            value = _decode_non_finite(line)
            if value is not None:
                return value
        problem = reason_of(error)
    try:
        text = line.decode()
    except UnicodeDecodeError as bad:
        if last and bad.end == len(line):
            return Unreadable(found.TORN)
        return Unreadable(found.NOT_UTF8, f"byte {bad.start + 1} is 0x{line[bad.start]:02X}")
    if "\0" in text:
        return Unreadable(found.NUL)
    if last and not line.endswith(b"\n") and text.lstrip().startswith("{"):
        return Unreadable(found.TORN)
    return Unreadable(found.NOT_JSON, problem.removeprefix("not JSON: "))


def _decode_non_finite(line: bytes) -> Any:
    try:
        value = json.loads(line)
        msgspec.json.encode(value)  # refuses half of a surrogate pair, which `json` accepts
    except (*BAD_CONTENT, TypeError):
        return None
    return value


class _Lines:
    """The lines of a stream that are not blank. Of a line that is too long only the beginning is
    kept."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._number = 0  # of lines that were read or skipped
        self._pushed = io.BytesIO()

    def following(self) -> bytes:
        """Return the next byte that is not blank, which stays unread; empty at the end."""
        while ahead := self._stream.peek(1):
            filled = ahead.lstrip(_BLANK)
            blank = self._stream.read(len(ahead) - len(filled))
            self._number += blank.count(b"\n")
            if filled:
                return filled[:1]
        return b""

    def next_filled(self) -> tuple[bytes, int]:
        """Return the next line that is not blank, from its first byte that is not, and its number;
        an empty one at the end."""
        while line := self._next():
            self._number += 1
            line = line.lstrip(_BLANK)
            if line:
                return line, self._number
        return b"", self._number

    def decode(self, line: bytes) -> Any:
        """Return the value of the line that was returned last, or `Unreadable`."""
        value = decode_line(line)
        if isinstance(value, Unreadable) and not self._peek():
            return decode_line(line, last=True)
        return value

    def push_back(self, data: bytes) -> None:
        """Make `data` the next bytes, after the first line was read."""
        self._pushed = io.BytesIO(data)
        self._pushed.readline()

    def _peek(self) -> bytes:
        position = self._pushed.tell()
        pushed = self._pushed.read(1)
        self._pushed.seek(position)
        return pushed or self._stream.peek(1)

    def _next(self) -> bytes:
        line = self._pushed.readline()
        if line.endswith(b"\n"):
            return line
        line += self._stream.readline(LONGEST + 1 - len(line)) if len(line) <= LONGEST else b""
        if len(line) > LONGEST and not line.endswith(b"\n"):
            while (rest := self._stream.readline(_SLICE)) and not rest.endswith(b"\n"):
                pass
            return line + b"\n"
        return line


class _Buffer:
    """Text that is decoded value by value and read on as far as each needs."""

    def __init__(self, stream: io.BufferedReader, file: Path, start: bytes = b"") -> None:
        self._stream = stream
        self._file = file
        self._data = start  # kept for `rest`, until the first value is found
        self._keep = bool(start)
        self._cut = b""  # the bytes of a character that a slice has cut
        self._text = ""
        self._at = 0
        if start:
            self._add(start)

    def _add(self, data: bytes, *, last: bool = False) -> None:
        data = self._cut + data
        try:
            text, self._cut = data.decode(), b""
        except UnicodeDecodeError as error:
            if last or len(data) - error.start > 3:
                raise not_utf8(self._file, data[error.start]) from None
            text, self._cut = data[: error.start].decode(), data[error.start :]
        self._text = self._text[self._at :] + text
        self._at = 0

    def _read_on(self) -> bool:
        """Add the next bytes, twice as many as there are; return whether there were some."""
        data = self._stream.read(max(_SLICE, len(self._text) - self._at))
        if not data:
            if self._cut:
                self._add(b"", last=True)
            return False
        if self._keep:
            self._data += data
        self._add(data)
        return True

    def next_character(self) -> str:
        """Return the next character that is no white space, without passing it; empty at the
        end."""
        while True:
            at = _SPACE.match(self._text, self._at)
            self._at = at.end() if at else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def skip(self) -> None:
        """Pass the next character."""
        self._at += 1

    def next_value(self, longest: int = LONGEST) -> Any:
        """Decode the next value. Raises `ValueError` with the reason, also for `RecursionError`."""
        self.next_character()
        while True:
            try:
                value, end = _decode_next(self._text, self._at)
            except json.JSONDecodeError as error:
                near = error.pos >= len(self._text) - 16
                if not near and not error.msg.startswith(_CUT):
                    raise
                if len(self._text) - self._at > longest:
                    raise ValueError(f"longer than {size(longest)}") from None
                if not self._read_on():
                    raise
                continue
            except RecursionError:
                raise ValueError("nested too deeply") from None
            is_number = not isinstance(value, dict | list | str)
            if is_number and end == len(self._text) and self._read_on():
                continue  # it may have more digits
            self._at = end
            return value

    def first_object(self) -> dict[str, Any] | None:
        """Return the object on several lines that the text starts with; None if there is none."""
        line = self._text
        try:
            value = self.next_value(_LARGEST_OBJECT) if self.next_character() == "{" else None
        except (ValueError, OverflowError, UserError):
            return None
        if not isinstance(value, dict) or self._at < len(line):
            return None
        self._keep, self._data = False, b""
        return value

    def rest(self) -> bytes:
        """Return everything that was read, where no value was found."""
        return self._data


def _read_list(buffer: _Buffer, file: Path) -> Values:
    """Yield the elements of a list that has more than one line."""
    buffer.next_character()
    buffer.skip()
    number = 0
    while True:
        following = _checked(buffer.next_character, file, number + 1)
        if following == "]":
            buffer.skip()
            break
        if number:
            if following != ",":
                what = "is cut off" if not following else "lacks a comma"
                raise UserError(
                    f"{file.name} is not valid JSON: the list {what} after row {number}"
                )
            buffer.skip()
        number += 1
        yield "row", number, _checked_value(_checked(buffer.next_value, file, number))
    if _checked(buffer.next_character, file, number + 1):
        raise UserError(
            f"{file.name} has more after the end of its list; one list, or one object per line, is "
            "needed"
        )


def _read_objects(first: dict[str, Any], buffer: _Buffer, file: Path) -> Values:
    """Yield objects that follow each other on several lines each, or the list in the only one."""
    if not _checked(buffer.next_character, file, 2):
        yield from _examples(first, file, 1, "row")
        return
    yield "row", 1, _checked_value(first)
    number = 1
    while _checked(buffer.next_character, file, number + 1):
        number += 1
        yield "row", number, _checked_value(_checked(buffer.next_value, file, number))


def _checked(read: Callable[[], Any], file: Path, number: int) -> Any:
    try:
        return read()
    except (ValueError, OverflowError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    raise UserError(
        f"{file.name} is not valid JSON from row {number} on ({reason}); write one object per line "
        "to keep the other rows"
    )


def _checked_value(value: Any) -> Any:
    try:
        msgspec.json.encode(value)
    except (*BAD_CONTENT, TypeError):
        return Unreadable(found.NOT_JSON, "half of a surrogate pair, or nested too deeply")
    return value


def _examples(value: Any, file: Path, number: int, unit: str) -> Values:
    """Yield the examples of a file that is one object: those of the list in it, or itself."""
    if not isinstance(value, dict) or not _ROW_FIELDS.isdisjoint(value):
        yield unit, number, _checked_value(value)
        return
    lists = [name for name, inner in value.items() if _is_list_of_rows(inner)]
    if len(lists) > 1:
        names = ", ".join(map(repr, lists[:5]))
        raise UserError(
            f"{file.name} is an object with several lists of rows ({names}): write each into a "
            "file of its own"
        )
    if lists:
        yield from _elements(value[lists[0]])
    else:
        yield unit, number, _checked_value(value)


def _is_list_of_rows(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) for item in value)
        and not any(name in value[0] for name in _OF_TURNS)
    )


def _elements(values: list[Any]) -> Values:
    for number, value in enumerate(values, start=1):
        yield "row", number, value
