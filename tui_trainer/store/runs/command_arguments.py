"""Checks of the arguments of commands, which any program may write."""

from __future__ import annotations

import math

_LONGEST = 60


def usable_rate(value: object) -> float | None:
    """`value` as a learning rate, a finite number above 0; None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        rate = float(value)
    except OverflowError:
        return None
    return rate if math.isfinite(rate) and rate > 0 else None


def shown(value: object) -> str:
    """An argument for a message: on one line of at most 60 characters."""
    try:
        text = ascii(value) if not isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; nested too deeply
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
