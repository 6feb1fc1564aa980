"""Safetensors files as they lie on the disk: their headers, and the values in their tensors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT

# Bits of an element of each type that safetensors knows.
_BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
# Of the types that can hold NaN or infinity: an unsigned type of the same width, and the bits
# that are all set in such values only (the exponent; of F8_E4M3 and F8_E8M0, the NaN).
_EXPONENTS: dict[str, tuple[str, int]] = {
    "F64": ("uint64", 0x7FF0_0000_0000_0000),
    "F32": ("uint32", 0x7F80_0000),
    "C64": ("uint32", 0x7F80_0000),
    "F16": ("uint16", 0x7C00),
    "BF16": ("uint16", 0x7F80),
    "F8_E5M2": ("uint8", 0x7C),
    "F8_E4M3": ("uint8", 0x7F),
    "F8_E8M0": ("uint8", 0xFF),
}
_HEADER_LIMIT = 100_000_000  # bytes; safetensors' own
_LFS = b"version https://git-lfs"
CHUNK = 1 << 20  # bytes that are read at once: they stay in the CPU's cache for both uses


class DamagedError(Exception):
    """A file is no whole safetensors file; the message says why and begins with its name."""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor's entry in a header: where its bytes lie after the header."""

    name: str
    dtype: str
    begin: int
    end: int


@dataclass(frozen=True)
class TensorHeader:
    """What a safetensors file holds: its tensors by offset, and the bytes before the first."""

    start: int
    tensors: list[TensorEntry]


def read_header(file: Path) -> TensorHeader:
    """The header, checked against the file's size. Raises `DamagedError` and `OSError`."""
    with file.open("rb") as stream:
        return _read_header(stream, file)


def _read_header(stream: BinaryIO, file: Path) -> TensorHeader:
    first = stream.read(len(_LFS))
    if first == _LFS:
        raise DamagedError(f"{file.name} is a pointer of Git LFS, not the weights")
    length = int.from_bytes(first[:8], "little")
    total = file.stat().st_size
    if not 2 <= length <= min(_HEADER_LIMIT, total - 8):
        raise DamagedError(f"{file.name} is cut off or no safetensors file")
    stream.seek(8)
    try:
        entries = msgspec.json.decode(stream.read(length), type=dict[str, Any])
    except BAD_CONTENT:
        raise DamagedError(
            f"{file.name} is no safetensors file: its header is not valid JSON"
        ) from None
    entries.pop("__metadata__", None)
    if not entries:
        raise DamagedError(f"{file.name} holds no weights")
    tensors, end = [], 0
    for name, entry in sorted(entries.items(), key=lambda item: _offsets(item[1])):
        begin, after = _offsets(entry)
        if begin != end or after - begin != _bytes_of(entry):
            raise DamagedError(f"{file.name} is damaged: the size of {name} does not fit")
        tensors.append(TensorEntry(name, entry["dtype"], begin, after))
        end = after
    expected = 8 + length + end
    if expected != total:
        raise DamagedError(
            f"{file.name} is cut off: {expected:,} bytes are expected, {total:,} there"
        )
    return TensorHeader(8 + length, tensors)


def hash_and_check(file: Path) -> tuple[str, list[str]]:
    """SHA-256 of a file, and the names of its tensors that hold NaN or infinity.

    The file is read once, `CHUNK` bytes at a time. Raises `DamagedError` and `OSError`.
    """
    with file.open("rb") as stream:
        header = _read_header(stream, file)
        stream.seek(0)
        digest = hashlib.sha256(stream.read(header.start))
        buffer = bytearray(CHUNK)
        not_finite = []
        for tensor in header.tensors:
            find = _finder(tensor.dtype)
            finite = True
            left = tensor.end - tensor.begin
            while left:
                # A type's width divides CHUNK, so no element lies in two chunks.
                view = memoryview(buffer)[: min(left, CHUNK)]
                if stream.readinto(view) != len(view):
                    raise DamagedError(f"{file.name} is cut off: it changed while it was read")
                digest.update(view)
                if find is not None and finite:
                    finite = not find(view)
                left -= len(view)
            if not finite:
                not_finite.append(tensor.name)
    return digest.hexdigest(), not_finite


def _finder(dtype: str) -> Callable[[memoryview], bool] | None:
    """Tells whether bytes of this type hold NaN or infinity; None for a type that cannot."""
    if dtype not in _EXPONENTS:
        return None
    import numpy as np  # what shows runs needs none of it before the first paint

    name, exponent = _EXPONENTS[dtype]
    kind: Any = getattr(np, name)
    scratch: Any = np.empty(CHUNK // np.dtype(kind).itemsize, dtype=kind)

    def find(view: memoryview) -> bool:
        values = np.frombuffer(view, dtype=kind)
        masked = np.bitwise_and(values, kind(exponent), out=scratch[: values.size])
        return bool(masked.max() == exponent)

    return find


def _offsets(entry: Any) -> tuple[int, int]:
    """Where a tensor lies, or (-1, -1) where the entry does not say."""
    try:
        begin, end = entry["data_offsets"]
        return int(begin), int(end)
    except (TypeError, ValueError, KeyError):
        return -1, -1


def _bytes_of(entry: Any) -> int:
    """What a tensor of that type and shape takes, or -1 where it is none."""
    try:
        bits = int(_BITS[entry["dtype"]] * math.prod(entry["shape"]))
    except (TypeError, KeyError):
        return -1
    return bits // 8 if bits % 8 == 0 else -1
