"""Reads the wire format of protocol buffers, without their library.

See https://protobuf.dev/programming-guides/encoding/ for the format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_double = struct.Struct("<d")
_float = struct.Struct("<f")
Field = tuple[int, int, int, int]


def fields(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of a message: number, wire type, and start and end of the value.

    For a varint the third item is the value itself. Raises `ValueError` where the bytes are not a
    message.
    """
    at = start
    end = len(data) if end is None else end
    while at < end:
        key = data[at]
        at += 1
        if key > 127:
            key, at = varint(data, at - 1, end)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = varint(data, at, end)
            yield number, wire, value, at
            continue
        if wire == BYTES:
            size, at = varint(data, at, end)
        elif wire == FIXED64:
            size = 8
        elif wire == FIXED32:
            size = 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > end or number == 0:
            raise ValueError("a field reaches past its message")
        yield number, wire, at, at + size
        at += size


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """An unsigned integer with 7 bits per byte, and the index after it."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            break
    raise ValueError("a number without an end")


def signed(value: int) -> int:
    """The int64 or int32 of a varint."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


def double(data: bytes, at: int) -> float:
    """A float of eight bytes."""
    return float(_double.unpack_from(data, at)[0])


def single(data: bytes, at: int) -> float:
    """A float of four bytes."""
    return float(_float.unpack_from(data, at)[0])


def text(data: bytes, start: int, end: int) -> str:
    """A string; invalid bytes are replaced."""
    return data[start:end].decode("utf-8", "replace")
