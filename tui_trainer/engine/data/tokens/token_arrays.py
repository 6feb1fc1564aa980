"""Token ids and learned masks of many rows, and the same as a few arrays for files and pipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tokens:
    """The tokens of some rows, in the order of the rows."""

    ids: list[list[int]]  # token ids, cut to the length limit; empty where nothing is learned
    learned: list[list[int]]  # 0 or 1 for every token id
    longer: int  # number of rows that were cut


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
    """Return tokens as arrays: `ids` (all tokens), `learned` (a bit each), `lengths` (rows) and
    `longer` (1)."""
    ids = np.fromiter(chain.from_iterable(tokens.ids), dtype=np.int32)
    learned = np.fromiter(chain.from_iterable(tokens.learned), dtype=np.uint8)
    lengths = np.array([len(row) for row in tokens.ids], dtype=np.int32)
    return {
        "ids": ids,
        "learned": np.packbits(learned),
        "lengths": lengths,
        "longer": np.array([tokens.longer], dtype=np.int64),
    }


def unpack(arrays: Mapping[str, Array]) -> Tokens:
    """Reverse `pack`. Raises `KeyError` or `ValueError` for other arrays."""
    ends = np.cumsum(arrays["lengths"], dtype=np.int64)[:-1]
    learned = np.unpackbits(arrays["learned"], count=len(arrays["ids"]))
    ids = SharedIntegers().share(part.tolist() for part in np.split(arrays["ids"], ends))
    return Tokens(
        ids,
        [part.tolist() for part in np.split(learned, ends)],
        int(arrays["longer"][0]),
    )
