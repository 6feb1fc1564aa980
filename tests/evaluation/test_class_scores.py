"""Scores of a classifier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.evaluation.class_scores import class_scores, confusion_matrix

LABELS = ("cat", "dog", "fox")


def test_scores_of_a_hand_made_case() -> None:
    true = ["cat", "cat", "cat", "dog", "dog", "fox"]
    predicted = ["cat", "cat", "dog", "dog", "fox", "fox"]
    scores = class_scores(confusion_matrix(true, predicted, LABELS), LABELS)
    assert scores.confusion == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert scores.accuracy == pytest.approx(4 / 6)
    assert [c.precision for c in scores.classes] == pytest.approx([1, 1 / 2, 1 / 2])
    assert [c.recall for c in scores.classes] == pytest.approx([2 / 3, 1 / 2, 1])
    assert [c.f1 for c in scores.classes] == pytest.approx([0.8, 0.5, 2 / 3])
    assert [c.support for c in scores.classes] == [3, 2, 1]
    assert scores.f1_macro == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)


def test_a_class_that_never_occurs_does_not_count_in_the_means() -> None:
    scores = class_scores(confusion_matrix(["cat"], ["cat"], LABELS), LABELS)
    assert scores.f1_macro == scores.precision_macro == scores.recall_macro == 1


PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1)


@pytest.mark.slow
@given(PAIRS)
def test_scores_equal_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    true, predicted = [one for one, _ in pairs], [other for _, other in pairs]
    scores = class_scores(confusion_matrix(true, predicted, LABELS), LABELS)
    expected = metrics.precision_recall_fscore_support(
        true, predicted, average="macro", zero_division=0
    )
    found = (scores.precision_macro, scores.recall_macro, scores.f1_macro)
    assert found == pytest.approx(expected[:3])
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(true, predicted))
    matrix = metrics.confusion_matrix(true, predicted, labels=list(LABELS))
    assert np.array_equal(matrix, np.array(scores.confusion))


@given(PAIRS)
def test_accuracy_is_the_share_of_equal_pairs(pairs: list[tuple[str, str]]) -> None:
    true, predicted = [one for one, _ in pairs], [other for _, other in pairs]
    scores = class_scores(confusion_matrix(true, predicted, LABELS), LABELS)
    assert scores.accuracy == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
