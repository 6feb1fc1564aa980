"""Paired comparison of two models."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.evaluation.paired import (
    LEVEL,
    compare_corpus,
    compare_means,
    compare_right,
    mcnemar_p,
)

COUNTS = st.integers(0, 60)


@given(COUNTS, COUNTS)
def test_the_p_value_is_the_exact_binomial_one(lost: int, won: int) -> None:
    total, fewer = lost + won, min(lost, won)
    tail = sum(Fraction(comb(total, k), 2**total) for k in range(fewer + 1))
    assert mcnemar_p(lost, won) == pytest.approx(float(min(1, 2 * tail)))
    assert mcnemar_p(lost, won) == mcnemar_p(won, lost)


def test_the_p_value_of_many_items_is_a_number() -> None:
    assert 0 <= mcnemar_p(4_000, 6_000) < 1e-80
    assert mcnemar_p(5_000, 5_000) == 1


def test_which_items_are_right_is_compared_by_the_items_that_differ() -> None:
    before = [True] * 20 + [False] * 20
    found = compare_right("exact_match", before, [True] * 40)
    assert (found.lost, found.won, found.verdict) == (0, 20, "better")
    found = compare_right("exact_match", before, [False] * 40)
    assert (found.lost, found.won, found.verdict) == (20, 0, "worse")
    assert found.change == pytest.approx(-0.5)


def test_few_differing_items_are_too_few_to_tell() -> None:
    before = [True] * 5 + [False] * 100
    after = [False] * 105
    assert compare_right("exact_match", before, after).verdict == "too few to tell"
    values = [0.0] * 100
    assert compare_means("token_f1", values, [1.0] * 5 + values[5:]).verdict == "too few to tell"


def test_equal_models_do_not_differ() -> None:
    assert compare_right("accuracy", [True, False], [True, False]).verdict == "no difference shown"
    found = compare_means("token_f1", [0.1, 0.3], [0.1, 0.3])
    assert (found.verdict, found.low, found.high) == ("no difference shown", 0, 0)


def test_means_are_compared_in_the_direction_of_the_metric() -> None:
    generator = np.random.default_rng(1)
    before = generator.normal(1.0, 0.1, 200)
    after = before + 0.1 + generator.normal(0, 0.05, 200)
    assert compare_means("token_f1", before.tolist(), after.tolist()).verdict == "better"
    found = compare_means("loss", before.tolist(), after.tolist(), higher=False)
    assert found.verdict == "worse"
    assert found.low is not None and found.high is not None
    assert found.low < found.change < found.high


def test_noise_is_rarely_called_a_difference() -> None:
    generator = np.random.default_rng(2)
    alarms = {"right": 0, "means": 0}
    rounds = 150
    for seed in range(rounds):
        chance = generator.beta(2, 2, 60)
        one, other = generator.random((2, 60)) < chance
        found = compare_right("accuracy", one.tolist(), other.tolist())
        alarms["right"] += found.verdict in ("better", "worse")
        first, second = chance + generator.normal(0, 0.2, (2, 60))
        found = compare_means("token_f1", first.tolist(), second.tolist(), seed=seed)
        alarms["means"] += found.verdict in ("better", "worse")
    assert alarms["right"] <= LEVEL * rounds
    assert alarms["means"] <= 2 * LEVEL * rounds  # three standard deviations above the level


def test_a_corpus_score_is_compared_by_resampled_statistics() -> None:
    def score(sums: list[float]) -> float:
        return 100 * sums[0] / sums[1]

    worse = [(float(at % 4), 4.0) for at in range(40)]
    better = [(float(at % 4) + 1.0, 4.0) for at in range(40)]
    found = compare_corpus("bleu", worse, better, score)
    assert (found.before, found.after) == (37.5, 62.5)
    assert found.verdict == "better"
    assert found.low == found.high == pytest.approx(25.0)
    assert compare_corpus("bleu", better, worse, score).verdict == "worse"
    assert compare_corpus("bleu", worse, worse, score).verdict == "no difference shown"
    few = compare_corpus("bleu", worse[:5], better[:5], score)
    assert few.verdict == "too few to tell"
