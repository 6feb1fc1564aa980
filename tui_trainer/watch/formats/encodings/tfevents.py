"""Reads TensorBoard event files, TFRecord frames around protocol buffers, without TensorFlow.

Frames are as in tensorflow/core/lib/io/record_writer.h: a length of 8 bytes, its masked CRC-32C,
the record, the record's masked CRC-32C. Messages are as in tensorflow/core/util/event.proto and
framework/summary.proto, tensor.proto.
"""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tui_trainer.watch.formats.encodings.crc32c import crc32c, crc32c_all, masked
from tui_trainer.watch.formats.encodings.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    double,
    fields,
    signed,
    single,
    text,
    varint,
)

_HEADER = struct.Struct("<QI")
LONGEST = 64 * 1024 * 1024
# Images and graphs, which are larger, have no values for a chart, so they are not verified.
_CHECKED = 1024
_LENGTHS_KEPT = 4096


class Frames:
    """Splits a growing stream into whole records, and finds the next one after damage."""

    def __init__(self) -> None:
        self.damaged = 0  # bytes skipped
        self._rest = bytearray()
        self._lengths: dict[int, int] = {}  # checksums of lengths, of which there are few

    @property
    def pending(self) -> int:
        """Bytes of a record that is not complete yet."""
        return len(self._rest)

    def forget(self) -> None:
        """Drops an incomplete record, after bytes were skipped."""
        self._rest.clear()

    def feed(self, data: bytes) -> list[bytes]:
        """Adds data; returns the records that are complete, without those with a wrong
        checksum."""
        self._rest += data
        buffer = bytes(self._rest)
        records: list[bytes] = []
        checks: list[int] = []
        at = 0
        while at + 12 <= len(buffer):
            size, check = _HEADER.unpack_from(buffer, at)
            known = self._lengths.get(size)
            if known is None:
                known = masked(crc32c(buffer[at : at + 8]))
                if len(self._lengths) < _LENGTHS_KEPT:
                    self._lengths[size] = known
            if size > LONGEST or known != check:
                found = _next_header(buffer, at + 1)
                self.damaged += found - at
                at = found
                continue
            end = at + 16 + size
            if end > len(buffer):
                break
            records.append(buffer[at + 12 : end - 4])
            checks.append(int.from_bytes(buffer[end - 4 : end], "little"))
            at = end
        self._rest = bytearray(buffer[at:])
        return self._checked(records, checks)

    def _checked(self, records: list[bytes], checks: list[int]) -> list[bytes]:
        """The records with the right checksum. Records of one length are verified together."""
        lengths: defaultdict[int, list[int]] = defaultdict(list)
        for index, record in enumerate(records):
            if len(record) <= _CHECKED:
                lengths[len(record)].append(index)
        wrong: set[int] = set()
        for length, members in lengths.items():
            joined = b"".join(records[index] for index in members)
            rows = np.frombuffer(joined, dtype=np.uint8).reshape(len(members), length)
            expected = np.array([checks[index] for index in members], dtype=np.uint32)
            wrong.update(members[at] for at in np.flatnonzero(crc32c_all(rows) != expected))
        self.damaged += sum(len(records[index]) for index in wrong)
        return [record for index, record in enumerate(records) if index not in wrong]


def _next_header(buffer: bytes, at: int) -> int:
    """The index of the next frame header: a length below 4 GiB ends with 4 zero bytes."""
    while True:
        zeros = buffer.find(b"\0\0\0\0", at + 4)
        if zeros < 0 or zeros + 8 > len(buffer):
            return max(at, len(buffer) - 11)
        at = zeros - 4
        size, check = _HEADER.unpack_from(buffer, at)
        if size <= LONGEST and masked(crc32c(buffer[at : at + 8])) == check:
            return at
        at += 1


@dataclass(slots=True)
class SummaryEvent:
    """One event."""

    wall: float  # seconds since the epoch
    step: int
    values: list[tuple[str, float]]  # tag and value
    config: dict[str, bytes] | None = None  # settings that the tool recorded as text, by tag


def read_event(data: bytes) -> SummaryEvent | None:
    """An event with values or settings; None for others. Raises `ValueError` where the bytes are
    not an event."""
    plain = _plain(data)
    if plain is not None:
        return plain
    wall, step, event = 0.0, 0, None
    for number, wire, start, end in fields(data):
        if number == 1 and wire == FIXED64:
            wall = double(data, start)
        elif number == 2 and wire == 0:
            step = signed(start)
        elif number == 5 and wire == BYTES:
            event = event or SummaryEvent(0.0, 0, [])
            for inner, kind, begin, stop in fields(data, start, end):
                if inner == 1 and kind == BYTES:
                    _read_value(data, begin, stop, event)
    if event is not None:
        event.wall, event.step = wall, step
    return event


def _plain(data: bytes) -> SummaryEvent | None:
    """The most usual event, read at a third of the cost: a time, a step, one tag with a float."""
    size, at, step = len(data), 9, 0
    if size < 24 or data[0] != 9:
        return None
    if data[at] == 16:
        step, at = varint(data, at + 1, size)
    if at + 6 > size or data[at] != 42 or data[at + 2] != 10 or data[at + 4] != 10:
        return None
    if data[at + 1] != size - at - 2 or data[at + 3] != size - at - 4 or data[at + 5] > 127:
        return None
    end = at + 6 + data[at + 5]
    if end + 5 != size or data[end] != 21:
        return None
    tag = data[at + 6 : end].decode("utf-8", "replace")
    return SummaryEvent(double(data, 1), signed(step), [(tag, single(data, end + 1))])


def _read_value(data: bytes, start: int, end: int, event: SummaryEvent) -> None:
    tag, value = "", None
    tensor = metadata = None
    for number, wire, begin, stop in fields(data, start, end):
        if number == 1 and wire == BYTES:
            tag = text(data, begin, stop)
        elif number == 2 and wire == FIXED32:
            value = single(data, begin)
        elif number == 8 and wire == BYTES:
            tensor = (begin, stop)
        elif number == 9 and wire == BYTES:
            metadata = (begin, stop)
    if value is None and tensor is not None:
        value, string = _read_tensor(data, *tensor)
        if string is not None and tag.endswith("text_summary"):
            event.config = {**(event.config or {}), tag: string}
    if value is not None:
        event.values.append((tag, value))
    elif metadata is not None and tag.startswith("_hparams_/"):
        event.config = {**(event.config or {}), tag: data[metadata[0] : metadata[1]]}


_FLOAT, _DOUBLE, _STRING, _INT = 1, 2, 7, (3, 4, 5, 6, 9)
_PACKED = {_FLOAT: ("<f", 4), _DOUBLE: ("<d", 8), 3: ("<i", 4), 9: ("<q", 8), 19: ("<e", 2)}


def _read_tensor(data: bytes, start: int, end: int) -> tuple[float | None, bytes | None]:
    """The only number of a tensor, or its only string."""
    dtype, count = 0, 1
    value: float | None = None
    string: bytes | None = None
    for number, wire, begin, stop in fields(data, start, end):
        if number == 1 and wire == 0:
            dtype = begin
        elif number == 2 and wire == BYTES:
            count = _elements(data, begin, stop)
        elif number == 4 and wire == BYTES and dtype in _PACKED:
            form, size = _PACKED[dtype]
            if stop - begin == size:
                value = float(struct.unpack_from(form, data, begin)[0])
        elif number == 5 and wire in (BYTES, FIXED32) and stop - begin == 4 and dtype == _FLOAT:
            value = single(data, begin)
        elif number == 6 and wire in (BYTES, FIXED64) and stop - begin == 8 and dtype == _DOUBLE:
            value = double(data, begin)
        elif number in (7, 10) and dtype in _INT:
            value = _integer(data, wire, begin, stop)
        elif number == 8 and wire == BYTES:
            string = data[begin:stop]
    return (value if count == 1 else None), (string if dtype == _STRING else None)


def _integer(data: bytes, wire: int, begin: int, stop: int) -> float | None:
    if wire == 0:
        return float(signed(begin))
    shifted = 0
    for place, byte in enumerate(data[begin:stop]):
        shifted |= (byte & 127) << 7 * place
        if byte < 128:
            return float(signed(shifted)) if place == stop - begin - 1 else None
    return None


def _elements(data: bytes, start: int, end: int) -> int:
    sizes = [1]
    for number, wire, begin, stop in fields(data, start, end):
        if number == 2 and wire == BYTES:
            inner = [b for n, w, b, _ in fields(data, begin, stop) if n == 1 and w == 0]
            sizes.append(signed(inner[0]) if inner else 0)
    return math.prod(sizes)


def hparams(content: bytes) -> Iterator[tuple[str, Any]]:
    """The settings of a `SessionStartInfo`, from the metadata of a summary (plugins/hparams)."""
    for start, end in _inside(content, (0, len(content)), 1, 2, 3, 1):
        name, value = "", None
        for number, wire, begin, stop in fields(content, start, end):
            if number == 1 and wire == BYTES:
                name = text(content, begin, stop)
            elif number == 2 and wire == BYTES:
                value = _setting(content, begin, stop)
        yield name, value


def _inside(data: bytes, within: tuple[int, int], *path: int) -> Iterator[tuple[int, int]]:
    for number, wire, begin, stop in fields(data, *within):
        if number == path[0] and wire == BYTES:
            if len(path) == 1:
                yield begin, stop
            else:
                yield from _inside(data, (begin, stop), *path[1:])


def _setting(data: bytes, start: int, end: int) -> Any:
    for number, wire, begin, stop in fields(data, start, end):
        if number == 2 and wire == FIXED64:
            return double(data, begin)
        if number == 3 and wire == BYTES:
            return text(data, begin, stop)
        if number == 4 and wire == 0:
            return bool(begin)
    return None
