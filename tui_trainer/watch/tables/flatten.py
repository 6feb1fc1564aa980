"""Flattening of nested configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST_CONFIG = 500


def flat(values: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """Flattens a nested configuration to `section.key` and value, at most 500 values."""
    found: dict[str, Any] = {}
    waiting = [(f"{section}.{key}" if section else str(key), v) for key, v in values.items()]
    waiting.reverse()
    while waiting and len(found) < _MOST_CONFIG:
        key, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{key}.{k}", v) for k, v in reversed(list(value.items()))]
        else:
            found[key] = value
    return found
