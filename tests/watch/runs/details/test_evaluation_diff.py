"""Evaluations of runs: side by side only where they measured the same rows."""

from __future__ import annotations

import math

from tui_trainer.contracts.evaluation import EvaluationScores, TaskRows
from tui_trainer.watch.runs.details.evaluation_diff import (
    ONE_RUN,
    ROWS_DIFFER,
    compare_evaluations,
)


def scores(**changes: object) -> EvaluationScores:
    values: dict[str, object] = {
        "name": "test", "time": 1.0, "files": ["/data/test.jsonl"], "data_hash": "d", "rows": 40,
        "metrics": {"loss": 1.5, "accuracy": 0.5},
    }  # fmt: skip
    return EvaluationScores(**(values | changes))  # type: ignore[arg-type]


def test_the_same_rows_are_compared_and_the_best_value_is_known() -> None:
    better = scores(metrics={"loss": 1.25, "accuracy": 0.5, "f1_macro": 0.75}, name="again")
    found = compare_evaluations([[scores()], [], [better]])
    assert found.single == () and found.notes("ABC") == []
    (shared,) = found.shared
    assert shared.first.title == "test.jsonl, 40 rows"
    results = {row.name: row for row in shared.results}
    assert results["loss"].values == (1.5, None, 1.25) and results["loss"].best == (2,)
    assert results["accuracy"].best == (), "equal: neither is better"
    assert results["f1_macro"].values == (None, None, 0.75)
    assert results["f1_macro"].text(2) == "0.750"


def test_other_content_or_another_number_of_rows_is_not_compared() -> None:
    for other in (scores(data_hash="e"), scores(rows=30)):
        found = compare_evaluations([[scores()], [other]])
        assert found.shared == ()
        ((reason, lines),) = found.apart("AB")
        assert reason == ROWS_DIFFER
        assert lines[0] == "A: test.jsonl, 40 rows: loss 1.500  accuracy 0.500"
        assert lines[1].startswith("B: test.jsonl, ")
    found = compare_evaluations([[scores()], [scores()], [scores(rows=30)]])
    assert len(found.shared) == 1
    assert [lines[0][0] for _, lines in found.apart("ABC")] == ["C"]


def test_an_evaluation_of_one_run_is_apart_for_another_reason() -> None:
    found = compare_evaluations([[scores()], []])
    ((reason, lines),) = found.apart("AB")
    assert reason == ONE_RUN and len(lines) == 1


def test_the_newest_of_several_evaluations_of_a_run_is_shown_and_the_others_are_counted() -> None:
    newest = scores(name="again", time=9.0, metrics={"loss": 1.0})
    found = compare_evaluations([[newest, scores()], [scores()]])
    results = {row.name: row.values for row in found.shared[0].results}
    assert results["loss"] == (1.0, 1.5)
    (note,) = found.notes("AB")
    assert note.startswith("A has 2 evaluations on the same rows of test.jsonl; the newest, again")


def test_other_settings_are_named() -> None:
    one, two = (
        {"max_length": length, "limit": limit} for length, limit in ((64, 40), (None, None))
    )
    (note,) = compare_evaluations([[scores(settings=one)], [scores(settings=two)]]).notes("AB")
    assert note == "test.jsonl was measured with different settings: max_length 64, default"


def test_tasks_are_compared_one_by_one_if_their_versions_are_equal() -> None:
    def tasks(version: str, *names: str) -> EvaluationScores:
        return scores(
            name="-".join(names), files=[], data_hash="", rows=5 * len(names),
            metrics={f"{name} {metric}": 0.5 for name in names for metric in ("acc", "ter")},
            tasks=[TaskRows(task=name, version=version, rows=5) for name in names],
        )  # fmt: skip

    found = compare_evaluations([[tasks("1", "arc", "wiki")], [tasks("1", "arc")]])
    assert [one.first.title for one in found.shared] == ["arc, 5 rows"]
    assert [(row.name, row.better) for row in found.shared[0].results] == [
        ("acc", "high"), ("ter", "low"),
    ]  # fmt: skip
    assert [one.measured.label for one in found.single] == ["wiki"]
    ((reason, _),) = compare_evaluations([[tasks("1", "arc")], [tasks("2", "arc")]]).apart("AB")
    assert reason == ROWS_DIFFER


def test_values_that_are_not_finite_are_not_the_best() -> None:
    found = compare_evaluations(
        [[scores(metrics={"loss": None})], [scores(metrics={"loss": math.inf})], [scores()]]
    )
    loss = found.shared[0].results[0]
    assert loss.values[:2] == (None, math.inf) and loss.best == ()
