"""Conversion of what device libraries return; None for what is not a value."""

from __future__ import annotations

import math
from typing import Any


def text(value: Any) -> str | None:
    """A string that is neither empty nor "N/A"; old bindings return bytes."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    value = value.strip()
    return None if value in ("", "N/A", "[N/A]") else value


def number(value: Any) -> float | None:
    """A finite number; None for text such as "N/A" and for booleans."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def whole(value: Any) -> int | None:
    """A whole number from 0 on; None for one with all bits set, which NVML returns for unknown
    values."""
    found = number(value)
    if found is None or found < 0 or found >= (1 << 64) - 1:
        return None
    return int(value)


def percent(value: Any) -> float | None:
    """A percentage from 0 to 100."""
    found = number(value)
    return found if found is not None and 0 <= found <= 100 else None


def scaled(value: Any, by: float) -> float | None:
    """A number times `by`."""
    found = number(value)
    return None if found is None else found * by


def describe(error: BaseException) -> str:
    """The text of an exception, at most 80 characters in one line."""
    words = " ".join(str(error).split())
    return words[:80] or type(error).__name__
