"""CRC-32C (Castagnoli), also of many short records at once.

The checksum of RFC 3720 appendix B.4, and the mask that TFRecord and LevelDB apply to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78


def _table(polynomial: int) -> list[int]:
    made = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        made.append(value)
    return made


_TABLE = _table(_POLYNOMIAL)
_TABLE_ARRAY = np.array(_TABLE, dtype=np.uint32)


def crc32c(data: bytes) -> int:
    """The checksum of one record."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """The checksum as TFRecord and LevelDB store it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c_all(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The masked checksums of records of one length; `rows` has shape (records, length)."""
    crc = np.full(len(rows), 0xFFFFFFFF, dtype=np.uint32)
    for column in np.ascontiguousarray(rows.T):
        crc = _TABLE_ARRAY[(crc ^ column) & 255] ^ crc >> np.uint32(8)
    crc ^= np.uint32(0xFFFFFFFF)
    return (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)
