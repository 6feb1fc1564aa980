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
from tui_trainer.text import formats

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
    """A file is not a complete safetensors file; the message starts with its name."""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor's entry in a header."""

    name: str  # of the tensor
    dtype: str  # as safetensors names it
    begin: int  # offset of the first byte, from the end of the header
    end: int  # offset after the last byte


@dataclass(frozen=True)
class TensorHeader:
    """The header of a safetensors file."""

    start: int  # bytes before the first tensor
    tensors: list[TensorEntry]  # by offset


def read_header(file: Path) -> TensorHeader:
    """Read the header and check it against the file's size. Raises `DamagedError` and `OSError`."""
    with file.open("rb") as stream:
        return _read_header(stream, file)


def _read_header(stream: BinaryIO, file: Path) -> TensorHeader:
    first = stream.read(len(_LFS))
    if first == _LFS:
        raise DamagedError(f"{file.name} is a Git LFS pointer, not the weights: run git lfs pull")
    length = int.from_bytes(first[:8], "little")
    total = file.stat().st_size
    if not 2 <= length <= min(_HEADER_LIMIT, total - 8):
        raise DamagedError(f"{file.name} is incomplete or not a safetensors file")
    stream.seek(8)
    try:
        entries = msgspec.json.decode(stream.read(length), type=dict[str, Any])
    except BAD_CONTENT:
        raise DamagedError(
            f"{file.name} is not a safetensors file: its header is not valid JSON"
        ) from None
    entries.pop("__metadata__", None)
    if not entries:
        raise DamagedError(f"{file.name} contains no weights")
    tensors, end = [], 0
    for name, entry in sorted(entries.items(), key=lambda item: _offsets(item[1])):
        begin, after = _offsets(entry)
        if begin != end or after - begin != _bytes_of(entry):
            raise DamagedError(f"{file.name} is damaged: the size of {name} is wrong")
        tensors.append(TensorEntry(name, entry["dtype"], begin, after))
        end = after
    expected = 8 + length + end
    if expected != total:
        raise DamagedError(
            f"{file.name} is incomplete: it has {formats.count(total)} of "
            f"{formats.count(expected)} bytes"
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
            remaining = tensor.end - tensor.begin
            while remaining:
                # CHUNK is a multiple of every element size, so that no element is split.
                view = memoryview(buffer)[: min(remaining, CHUNK)]
                if stream.readinto(view) != len(view):
                    raise DamagedError(f"{file.name} changed while it was read: it is incomplete")
                digest.update(view)
                if find is not None and finite:
                    finite = not find(view)
                remaining -= len(view)
            if not finite:
                not_finite.append(tensor.name)
    return digest.hexdigest(), not_finite


def _finder(dtype: str) -> Callable[[memoryview], bool] | None:
    """A function that finds NaN or infinity in bytes of this type; None if the type has neither."""
    if dtype not in _EXPONENTS:
        return None
    import numpy as np  # not needed, and so not imported, by the monitor

    name, exponent = _EXPONENTS[dtype]
    kind: Any = getattr(np, name)
    scratch: Any = np.empty(CHUNK // np.dtype(kind).itemsize, dtype=kind)

    def find(view: memoryview) -> bool:
        values = np.frombuffer(view, dtype=kind)
        masked = np.bitwise_and(values, kind(exponent), out=scratch[: values.size])
        return bool(masked.max() == exponent)

    return find


def _offsets(entry: Any) -> tuple[int, int]:
    """Offsets of a tensor's first byte and after its last; (-1, -1) if the entry has none."""
    try:
        begin, end = entry["data_offsets"]
        return int(begin), int(end)
    except (TypeError, ValueError, KeyError):
        return -1, -1


def _bytes_of(entry: Any) -> int:
    """Size in bytes of a tensor of the entry's type and shape; -1 if the entry is not valid."""
    try:
        bits = int(_BITS[entry["dtype"]] * math.prod(entry["shape"]))
    except (TypeError, KeyError):
        return -1
    return bits // 8 if bits % 8 == 0 else -1
