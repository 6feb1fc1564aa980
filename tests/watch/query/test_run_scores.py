"""Scores of evaluations in the conditions and the order of the list of runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.watch.runs.details.test_evaluation_diff import scores
from tui_trainer.evaluation.metrics import named_values
from tui_trainer.watch.query import fields, query, run_scores
from tui_trainer.watch.snapshots import RunSummary

RUNS = [RunSummary(Path(name), name, name, "run", "completed") for name in ("a", "b", "none")]
SCORES = {
    Path("a"): named_values([scores(metrics={"accuracy": 0.75, "loss": 1.0, "f1_macro": 0.5})]),
    Path("b"): named_values([scores(name="new", metrics={"accuracy": 0.5}), scores()]),
    Path("none"): named_values([]),
}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("test.accuracy>0.6", ["a"]),
        ("accuracy<=0.5", ["b"]),
        ("new.accuracy=0.5", ["b"]),
        ("test.loss<2", ["a", "b"]),
        ("test.f1>0", ["a"]),
        ("-test.accuracy>0.6", ["b", "none"]),
    ],
)
def test_conditions(text: str, names: list[str]) -> None:
    wanted = query.parse(text, run_scores.names_of(SCORES))
    assert wanted.problem is None and wanted.needs_config
    found = [run.name for run in RUNS if wanted.matches(run, 0.0, SCORES[run.path])]
    assert found == names


def test_the_scores_that_a_query_names_are_found() -> None:
    known = run_scores.names_of(SCORES)
    wanted = query.parse("loss<2 test.loss<2 accuracy>0 test.loss>1", {*known, "lora.rank"})
    assert run_scores.named_in(wanted, known) == ["test.loss", "accuracy"]


def test_runs_without_the_score_come_last() -> None:
    for name, order in (("test.loss", "ab"), ("accuracy", "ab"), ("new.accuracy", "b")):
        field = run_scores.field_of(name, SCORES)
        assert field.descending is (name != "test.loss"), "the best comes first"
        found = fields.sort_items(RUNS[::-1], field, field.descending)
        assert "".join(run.name for run in found).startswith(order)


def test_a_score_as_text() -> None:
    assert run_scores.text_of("test.loss", {"test.loss": 1.5}) == "1.500"
    assert run_scores.text_of("test.accuracy", {}) == "–"


def test_tasks_of_lm_eval_have_names_that_a_condition_can_contain() -> None:
    found = named_values([scores(name="arc-wiki", metrics={"arc acc": 0.5, "wiki ter": 2.0})])
    assert found["arc.acc"] == 0.5 and found["wiki.ter"] == 2.0
    assert not run_scores.field_of("wiki.ter", {}).descending
    assert query.parse("arc.acc>0.4", found).problem is None
