"""Nested configurations as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST_CONFIG = 500


def flat(values: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    """A nested configuration as `section.key` to value, 500 values at most."""
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
