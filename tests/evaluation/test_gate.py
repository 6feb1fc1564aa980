"""The gate: what blocks a model, and what does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tui_trainer.contracts.evaluation import EvaluatedItem
from tui_trainer.evaluation import gate
from tui_trainer.evaluation.paired import LEVEL


def items(right: Sequence[bool], f1: Sequence[float] | None = None) -> list[EvaluatedItem]:
    scores = [float(one) for one in right] if f1 is None else f1
    return [
        EvaluatedItem(
            where=f"test.jsonl line {at}",
            question=f"question {at}",
            reference="yes",
            answer="yes" if one else "no",
            right=bool(one),
            scores={"token_f1": float(score), "exact_match": float(one)},
        )
        for at, (one, score) in enumerate(zip(right, scores, strict=True), start=1)
    ]


NOTHING: tuple[list[EvaluatedItem], list[EvaluatedItem]] = ([], [])


def test_one_lost_golden_answer_blocks() -> None:
    before, after = items([True] * 30), items([True] * 29 + [False])
    found = gate.decide((before, after), NOTHING)
    assert not found.passed
    assert found.blocked == ["1 golden answer lost"]
    assert [item.where for item in found.lost] == ["test.jsonl line 30"]
    assert (found.lost[0].before, found.lost[0].after) == ("yes", "no")


def test_won_golden_answers_and_those_that_stay_wrong_do_not_block() -> None:
    found = gate.decide((items([False, False, True]), items([True, False, True])), NOTHING)
    assert found.passed
    assert [item.question for item in found.won] == ["question 1"]
    assert found.lost == []


def test_one_lost_row_of_other_data_is_listed_and_does_not_block() -> None:
    found = gate.decide(NOTHING, (items([True] * 30), items([True] * 29 + [False])))
    assert found.passed
    assert len(found.lost) == 1
    assert "too few to tell" in found.notices[0]


def test_many_lost_rows_block() -> None:
    found = gate.decide(NOTHING, (items([True] * 100), items([True] * 80 + [False] * 20)))
    assert not found.passed
    assert any("right answers: lower by 0.200 on 100 items" in text for text in found.blocked)


def test_a_sure_change_within_the_threshold_does_not_block() -> None:
    before = items([True] * 1000)
    after = items([True] * 985 + [False] * 15)
    assert gate.decide(NOTHING, (before, after)).passed
    assert not gate.decide(NOTHING, (before, after), threshold=0.01).passed


def test_equal_models_with_noise_are_rarely_blocked() -> None:
    generator = np.random.default_rng(3)
    rounds, blocked = 150, 0
    for _ in range(rounds):
        chance = generator.beta(1, 1, 80)
        right = generator.random((2, 80)) < chance
        f1 = np.clip(chance + generator.normal(0, 0.2, (2, 80)), 0, 1)
        before, after = (items(right[k].tolist(), f1[k].tolist()) for k in (0, 1))
        blocked += not gate.decide(NOTHING, (before, after)).passed
    assert blocked <= LEVEL * rounds


def test_each_metric_is_compared_on_the_rows_that_have_it() -> None:
    before, after = items([True] * 20 + [False] * 20), items([True] * 40)
    found = {test.metric: test for test in gate.compare_metrics(before, after, ["exact_match",
             "token_f1", "rouge1"])}  # fmt: skip
    assert set(found) == {"exact_match", "token_f1"}
    assert (found["exact_match"].won, found["exact_match"].verdict) == (20, "better")
    assert found["token_f1"].verdict == "better"


def test_bleu_and_chrf_are_compared_over_all_answers_together() -> None:
    pytest.importorskip("sacrebleu")
    before, after = items([True] * 20 + [False] * 20), items([True] * 40)
    found = gate.compare_metrics(before, after, ["bleu", "chrf"])
    assert [test.metric for test in found] == ["bleu", "chrf"]
    assert found[1].verdict == "better"
    assert found[1].after == pytest.approx(100)
    assert {test.items for test in found} == {40}
