"""Tokens in memory and as arrays."""

from __future__ import annotations

from tui_trainer.engine.data.tokens.token_arrays import SharedIntegers, Tokens, pack, unpack

IDS = [[1000, 2000, 1000], [], [2000, 3]]
LEARNED = [[0, 1, 1], [], [1, 0]]


def objects(rows: list[list[int]]) -> int:
    return len({id(token) for row in rows for token in row})


def test_arrays_give_the_same_tokens() -> None:
    tokens = Tokens(IDS, LEARNED, [0, 2, 3], 5, 1, [(1, "why")], [4])
    assert unpack(pack(tokens)) == tokens


def test_equal_token_ids_are_one_object() -> None:
    apart = [[int(str(token)) for token in row] for row in IDS]  # as a tokenizer returns them
    shared = SharedIntegers().share(apart)
    assert shared == IDS and objects(shared) == 3 < objects(apart)
    assert objects(unpack(pack(Tokens(apart, LEARNED, [0, 1, 2], 3))).ids) == 3
