"""Conversion of values from other programs' training loops to plain numbers and JSON values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence, Set

_LARGEST = 2**63
_DEEPEST = 6
_LONGEST = 1_000


def number(value: object) -> int | float | None:
    """A measured value as a plain number, NaN and infinities included; None if it is not a number.

    Accepts Python's numbers, and one-element tensors and arrays of any library by their `item()`.
    Text, complex numbers and arrays of several elements are not numbers.
    """
    kind = type(value)
    if kind is float or (kind is int and -_LARGEST <= value < _LARGEST):  # type: ignore[operator]
        return value  # type: ignore[return-value]
    try:
        if not isinstance(value, int | float) and hasattr(value, "item"):
            value = value.item()
        if isinstance(value, str | bytes | bytearray | complex):
            return None
        if isinstance(value, int) and -_LARGEST <= value < _LARGEST:
            return int(value)
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]
    except Exception:  # another library's object may raise anything: it is not a number
        return None


def plain(value: object, depth: int = 0) -> object:
    """A value of a configuration as a JSON value; anything that JSON cannot represent as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)[:_LONGEST]
    if isinstance(value, int | float):
        return _finite(value)
    if depth < _DEEPEST:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {
                f.name: plain(_get(value, f.name), depth + 1) for f in dataclasses.fields(value)
            }
        if isinstance(value, Mapping):
            return {str(key): plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, Sequence | Set) and not isinstance(value, bytes | bytearray):
            return [plain(item, depth + 1) for item in value]
    as_number = number(value)
    return _text(value) if as_number is None else _finite(as_number)


def _finite(value: int | float) -> object:
    """The value, or its text: JSON cannot represent NaN, the infinities and larger integers."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return int(value) if -_LARGEST <= value < _LARGEST else str(value)


def _get(holder: object, name: str) -> object:
    return getattr(holder, name, None)


def _text(value: object) -> str:
    try:
        return str(value)[:_LONGEST]
    except Exception:  # another library's object may fail to be converted
        return type(value).__name__
