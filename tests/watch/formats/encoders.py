"""Other tools' formats written from their specifications, apart from the readers under test."""

from __future__ import annotations

import struct
import zlib

POLYNOMIAL = 0x1EDC6F41


def crc32c(data: bytes) -> int:
    """Bit by bit, the most significant first, as the standard's own definition has it."""
    register = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            carry = (register >> 31) ^ (byte >> bit & 1)
            register = (register << 1 & 0xFFFFFFFF) ^ (POLYNOMIAL if carry else 0)
    return int(f"{register ^ 0xFFFFFFFF:032b}"[::-1], 2)


def masked(data: bytes) -> bytes:
    check = crc32c(data)
    turned = check // 2**15 + check % 2**15 * 2**17
    return struct.pack("<I", (turned + 0xA282EAD8) % 2**32)


def varint(value: int) -> bytes:
    value %= 2**64
    found = bytearray()
    while value >= 128:
        found.append(value % 128 + 128)
        value //= 128
    return bytes([*found, value])


def field(number: int, value: bytes | int | float) -> bytes:
    """A field of a message: bytes, a varint or a double."""
    if isinstance(value, bytes):
        return varint(number * 8 + 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number * 8 + 1) + struct.pack("<d", value)
    return varint(number * 8) + varint(value)


def float32(number: int, value: float) -> bytes:
    return varint(number * 8 + 5) + struct.pack("<f", value)


def event(wall: float, step: int, *values: bytes) -> bytes:
    """An Event of TensorBoard with a Summary."""
    summary = b"".join(field(1, value) for value in values)
    return field(1, wall) + (field(2, step) if step else b"") + field(5, summary)


def scalar(tag: str, value: float) -> bytes:
    return field(1, tag.encode()) + float32(2, value)


def tensor(tag: str, value: float) -> bytes:
    """A scalar as TensorFlow 2 and Keras write it."""
    metadata = field(1, field(1, b"scalars"))
    shaped = field(1, 1) + field(2, b"") + field(4, struct.pack("<f", value))
    return field(1, tag.encode()) + field(9, metadata) + field(8, shaped)


def frame(record: bytes) -> bytes:
    """A TFRecord."""
    size = struct.pack("<Q", len(record))
    return size + masked(size) + record + masked(record)


def tfevents(*events: bytes) -> bytes:
    version = field(1, 1e9) + field(3, b"brain.Event:2")
    return b"".join(map(frame, [version, *events]))


def wandb_log(*records: bytes) -> bytes:
    """Records in blocks of 32 KiB, as W&B writes them."""
    made = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        rest, first = record, True
        while rest or first:
            left = 32768 - len(made) % 32768
            if left < 7:
                made += bytes(left)
                continue
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = bytes([(1 if first else 4) if not rest else (2 if first else 3)])
            made += struct.pack("<IH", zlib.crc32(kind + part), len(part)) + kind + part
            first = False
    return bytes(made)


def history(step: int, **values: str) -> bytes:
    """A Record of W&B with a HistoryRecord; values are JSON, `__` in names stands for a slash."""
    items = [
        field(1, field(2, name.replace("__", "/").encode()) + field(16, value.encode()))
        for name, value in {**values, "_step": str(step)}.items()
    ]
    return field(2, b"".join(items) + field(2, field(1, step)))


def config(key: str, value: str) -> bytes:
    return field(1, field(1, key.encode()) + field(16, value.encode()))


def run(name: str, start: int, *settings: bytes) -> bytes:
    return field(17, field(8, name.encode()) + field(4, b"".join(settings))
                 + field(17, field(1, start)))  # fmt: skip


def ending(code: int) -> bytes:
    return field(18, field(1, code) if code else b"")
