"""JSON that is none: `NaN`, `Infinity` and numbers past the range, put to null."""

from __future__ import annotations

import math
import re

_WORD = re.compile(rb"(?<=[:,\[\s])([-+]?(?:NaN|nan|Infinity|inf))(?=\s*[,}\]])")
_SPACE = 32
_LARGE = re.compile(rb"(?<=[:,\[\s])-?[0-9.]+(?:[eE]\+?[0-9]{3,}|[0-9]{290,})(?=\s*[,}\]])")


def null_words(data: bytes) -> bytes:
    """JSON with its non-finite numbers (`NaN`, `Infinity`, `1e999`) put to null."""
    return null_large(null_names(data))


def null_names(data: bytes) -> bytes:
    """The words only, as any writer spells them; a text that reads like one may change too."""
    return _WORD.sub(b"null", data)


def null_large(data: bytes) -> bytes:
    """The numbers past the range only."""
    return _LARGE.sub(_null_if_large, data)


def null_usual(data: bytes) -> bytes:
    """The words as Python's json writes them, many times faster; the spacing of the first
    counts for all."""
    for word in (b"NaN", b"-Infinity", b"Infinity"):
        place = data.find(word)
        if place > 1:
            before = b": " if data[place - 1] == _SPACE else b":"
            data = data.replace(before + word, before + b"null")
    return data


def _null_if_large(match: re.Match[bytes]) -> bytes:
    try:
        return match[0] if math.isfinite(float(match[0])) else b"null"
    except ValueError:
        return match[0]
