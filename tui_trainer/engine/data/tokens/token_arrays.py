"""Token ids and learned masks of many rows, and the same as a few arrays for files and pipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tokens:
    """The tokens of some rows' examples, in the order of the rows. A row has no example where it is
    refused or nothing in it is learned, and several where its answers cannot be in one text."""

    ids: list[list[int]]  # token ids of every example, cut to the length limit
    learned: list[list[int]]  # 0 or 1 for every token id
    rows: list[int]  # the row of every example, as an index
    total: int  # number of rows
    longer: int = 0  # number of rows that were cut
    refused: list[tuple[int, str]] = field(default_factory=list)  # rows left out, and why
    without_tools: list[int] = field(default_factory=list)  # rows whose definitions are not written


def join(parts: Iterable[Tokens]) -> Tokens:
    """Return the tokens of consecutive rows as one."""
    ids: list[list[int]] = []
    learned: list[list[int]] = []
    rows: list[int] = []
    refused: list[tuple[int, str]] = []
    without: list[int] = []
    total = longer = 0
    for part in parts:
        ids += part.ids
        learned += part.learned
        rows += [total + row for row in part.rows]
        refused += [(total + row, reason) for row, reason in part.refused]
        without += [total + row for row in part.without_tools]
        total += part.total
        longer += part.longer
    return Tokens(ids, learned, rows, total, longer, refused, without)


class SharedIntegers:
    """Makes equal token ids one object: a tokenizer returns a new one for every token, which needs
    five times the memory of the reference to it."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def share(self, rows: Iterable[Iterable[int]]) -> list[list[int]]:
        """Return the same rows of token ids, whose equal ones are the same object."""
        known = self._known.setdefault
        return [[known(token, token) for token in row] for row in rows]


def pack(tokens: Tokens) -> dict[str, Array]:
    """Return tokens as arrays: `ids` (all tokens), `learned` (a bit each), `lengths` and `rows`
    (of every example), and `others` (the rest, as JSON text)."""
    ids = np.fromiter(chain.from_iterable(tokens.ids), dtype=np.int32)
    learned = np.fromiter(chain.from_iterable(tokens.learned), dtype=np.uint8)
    others = (tokens.total, tokens.longer, tokens.refused, tokens.without_tools)
    return {
        "ids": ids,
        "learned": np.packbits(learned),
        "lengths": np.array([len(row) for row in tokens.ids], dtype=np.int32),
        "rows": np.array(tokens.rows, dtype=np.int64),
        "others": np.frombuffer(msgspec.json.encode(others), dtype=np.uint8),
    }


def unpack(arrays: Mapping[str, Array]) -> Tokens:
    """Reverse `pack`. Raises `KeyError` or `ValueError` for other arrays."""
    ends = np.cumsum(arrays["lengths"], dtype=np.int64)[:-1]
    learned = np.unpackbits(arrays["learned"], count=len(arrays["ids"]))
    found = tuple[int, int, list[tuple[int, str]], list[int]]
    total, longer, refused, without = msgspec.json.decode(arrays["others"].tobytes(), type=found)
    some = len(arrays["lengths"]) > 0
    pieces = np.split(arrays["ids"], ends) if some else []
    return Tokens(
        SharedIntegers().share(part.tolist() for part in pieces),
        [part.tolist() for part in np.split(learned, ends)] if some else [],
        arrays["rows"].tolist(),
        total,
        longer,
        refused,
        without,
    )
