"""Endless repetition is recognised, ordinary repetition is not."""

from __future__ import annotations

import pytest

from tui_trainer.models.serving.repetition import repeats


@pytest.mark.parametrize("period", [1, 2, 7, 24, 40])
def test_a_block_that_fills_the_end_is_endless(period: int) -> None:
    start, block = [900, 901, 902], list(range(period))
    times = max(4, -(-96 // period))
    ids = start + block * times
    assert repeats(ids)
    assert repeats([*ids, *block[: period // 2]])
    assert not repeats(start + block * (times - 1))


@pytest.mark.parametrize(
    "ids",
    [
        [],
        [5] * 95,
        [*[5] * 200, 6],
        list(range(300)),
        [token for number in range(60) for token in (1, 2, 100 + number, 3)],  # a counted list
    ],
)
def test_other_answers_are_not(ids: list[int]) -> None:
    assert not repeats(ids)
