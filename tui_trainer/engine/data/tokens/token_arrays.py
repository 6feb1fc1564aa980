"""Token ids and learned masks of some rows, and the same as a few arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Coded = npt.NDArray[np.int32]  # token ids; of a learned token the bitwise complement of its id


@dataclass(frozen=True)
class Tokens:
    """The tokens of some rows' examples, in the order of the rows. A row has no example where it is
    refused or nothing in it is learned, and several where its answers cannot be in one text."""

    ids: list[list[int]]  # token ids of every example, cut to the length limit; never empty
    learned: list[list[int]]  # 0 or 1 for every token id
    rows: list[int]  # the row of every example, as an index
    total: int  # number of rows
    longer: int = 0  # number of rows that were cut
    refused: list[tuple[int, str]] = field(default_factory=list)  # rows left out, and why
    without_tools: list[int] = field(default_factory=list)  # rows whose definitions are not written


@dataclass(frozen=True)
class PackedTokens:
    """The same as arrays, which need a fifth of the memory and travel through pipes."""

    coded: Coded  # (tokens,) of all examples
    lengths: Integers  # (examples,) tokens of each
    learned: Integers  # (examples,) predictions of each that count in the loss
    rows: Integers  # (examples,) the row of each
    total: int
    longer: int
    refused: list[tuple[int, str]]
    without_tools: list[int]


def pack(tokens: Tokens) -> PackedTokens:
    """Return tokens as arrays."""
    ids = np.fromiter(chain.from_iterable(tokens.ids), dtype=np.int32)
    mask = np.fromiter(chain.from_iterable(tokens.learned), dtype=np.bool_)
    lengths = np.array([len(row) for row in tokens.ids], dtype=np.int64)
    return PackedTokens(
        np.where(mask, ~ids, ids),
        lengths,
        np.array([sum(row[1:]) for row in tokens.learned], dtype=np.int64),
        np.array(tokens.rows, dtype=np.int64),
        tokens.total,
        tokens.longer,
        tokens.refused,
        tokens.without_tools,
    )


def decode(coded: Coded) -> tuple[Coded, npt.NDArray[np.bool_]]:
    """Return the token ids of coded tokens, and which of them are learned."""
    mask = coded < 0
    return np.where(mask, ~coded, coded), mask
