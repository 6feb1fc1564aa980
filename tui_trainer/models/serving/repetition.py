"""Recognises an answer that repeats itself without end."""

from __future__ import annotations

from collections.abc import Sequence

# A block of tokens counts as endless when it fills so many tokens and comes so many times.
_LEAST_TOKENS = 96
_LEAST_TIMES = 4


def repeats(ids: Sequence[int]) -> bool:
    """Whether `ids` end with one block of tokens again and again: at least four times, and
    over at least 96 tokens."""
    count = len(ids)
    if count < _LEAST_TOKENS:
        return False
    for period in range(1, count // _LEAST_TIMES + 1):
        length = max(_LEAST_TOKENS, _LEAST_TIMES * period)
        # The last tokens equal those one period before them.
        if ids[-1] == ids[-1 - period] and list(ids[-length + period :]) == list(
            ids[-length : count - period]
        ):
            return True
    return False
