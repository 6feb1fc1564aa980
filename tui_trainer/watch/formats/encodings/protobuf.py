"""The wire format of protocol buffers, read without their library.

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
    """The fields of a message: number, wire type, and where its value begins and ends.

    A varint's value stands in the third place itself. Raises `ValueError` where the bytes are
    no message.
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
    """An unsigned number of 7 bits a byte, and where the next thing begins."""
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
    """An int64 or int32 from its varint."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


def double(data: bytes, at: int) -> float:
    """Eight bytes as a number."""
    return float(_double.unpack_from(data, at)[0])


def single(data: bytes, at: int) -> float:
    """Four bytes as a number."""
    return float(_float.unpack_from(data, at)[0])


def text(data: bytes, start: int, end: int) -> str:
    """A string; bytes that are none are replaced."""
    return data[start:end].decode("utf-8", "replace")
