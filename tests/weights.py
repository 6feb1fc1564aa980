"""A file of weights for tests that only need one to be there, written without any library."""

from __future__ import annotations

import json
import struct


def one_tensor(name: str = "lora_A", values: int = 1) -> bytes:
    """The bytes of a safetensors file with one fp32 tensor of zeros, of shape [values]."""
    entry = {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}
    header = json.dumps({name: entry}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * values)
