"""The page with the scores of a run: on files, beside another model, and by class."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.content import Content

from tests.watch.runs.details.test_evaluation_lines import evaluation
from tui_trainer.contracts.evaluation import (
    ChangedItem,
    EvaluatedItem,
    EvaluationReport,
    Paired,
    ScoreComparison,
)
from tui_trainer.contracts.runs.metrics import ClassScore
from tui_trainer.tui.runs import score_page
from tui_trainer.watch.runs.details.run_details import RunDetails
from tui_trainer.watch.snapshots import RunSummary, RunView

VIEW = RunView(RunSummary(Path("/runs/a"), "a-1", "alpha", "run", "completed"))


def report(**changes: object) -> EvaluationReport:
    values = {
        "name": "test", "time": 1.0, "target": "alpha", "model": "builtin", "adapter": None,
        "task": "causal-lm", "files": ["/data/test.jsonl"], "data_hash": "", "rows": 3,
        "metrics": {"loss": 1.25, "exact_match": 1 / 3, "bleu": 12.5},
        "items": [
            item("line 1", "Rome", right=True), item("line 2", "Par[b]is", right=False),
            item("line 3", None, right=None),
        ],
    }  # fmt: skip
    return EvaluationReport(**(values | changes))  # type: ignore[arg-type]


def item(where: str, answer: str | None, *, right: bool | None) -> EvaluatedItem:
    return EvaluatedItem(
        where=where, question="Which city?", reference="Rome", answer=answer, right=right
    )


def lines(content: Content, width: int = 80) -> list[str]:
    found = content.plain.split("\n")
    assert all(len(line) <= width for line in found)
    return found


@pytest.mark.parametrize("width", [60, 80, 160])
def test_metrics_and_the_wrong_rows_are_shown(width: int) -> None:
    shown = lines(score_page.scores(RunDetails(VIEW, reports=(report(),)), width), width)
    assert shown[0].startswith("test  test.jsonl: 3 rows")
    assert ["loss", "1.250"] in [line.split() for line in shown]
    assert ["exact_match", "0.333"] in [line.split() for line in shown]
    assert ["bleu", "12.50"] in [line.split() for line in shown]
    assert "wrong: 1 row, the worst first" in shown
    assert shown[-1].split() == ["this", "run", "Par[b]is"], "text from a model is no markup"


def test_beside_another_model_the_change_has_a_verdict_and_lost_rows_are_named() -> None:
    test = Paired(
        metric="exact_match", test="exact McNemar", items=3, before=2 / 3, after=1 / 3, p=1.0,
        lost=1, won=0, verdict="too few to tell",
    )  # fmt: skip
    lost = ChangedItem(
        where="line 2", question="Which city?", reference="Rome", before="Rome", after="Paris"
    )
    other = ScoreComparison(
        target="base builtin", metrics={"loss": 2.125, "exact_match": 2 / 3}, tests=[test],
        lost=[lost] * 25,
    )  # fmt: skip
    shown = lines(score_page.scores(RunDetails(VIEW, reports=(report(against=other),)), 80))
    assert "other: base builtin" in shown
    exact = next(line for line in shown if line.startswith("exact_match"))
    assert exact.split() == ["exact_match", "0.333", "0.667", "-0.333", "too", "few", "to", "tell"]
    loss = next(line for line in shown if line.startswith("loss"))
    assert loss.split() == ["loss", "1.250", "2.125", "-0.8750"]
    bleu = next(line for line in shown if line.startswith("bleu"))
    assert bleu.split() == ["bleu", "12.50", "–", "–"]
    assert "lost: 25 rows" in shown and "and 5 more rows" in shown
    assert "wrong: 1 row, the worst first" in shown
    assert "  other     Rome" in shown and "  this run  Paris" in shown


def test_evaluations_are_turned_and_those_of_training_come_last() -> None:
    known = RunDetails(
        VIEW,
        reports=(report(name="new"), report(name="old")),
        evaluation=evaluation(["cat", "dog"], [[9, 1], [0, 12]]),
    )
    assert score_page.count(known) == 3
    shown = [lines(score_page.scores(known, 80, back)) for back in (0, 1, 2, 9)]
    assert [page[0][:17] for page in shown] == [f"evaluation {n} of 3" for n in (3, 2, 1, 1)]
    assert shown[0][1].startswith("new  ") and shown[1][1].startswith("old  ")
    assert shown[2][1] == "the newest evaluation, step 40"


def test_classes_have_the_lowest_f1_first() -> None:
    classes = [
        ClassScore(label="often", precision=1.0, recall=0.9, f1=0.947, support=1200),
        ClassScore(label="rare", precision=0.5, recall=0.5, f1=0.5, support=2),
        ClassScore(label="never", precision=0.0, recall=0.0, f1=0.0, support=0),
    ]
    known = RunDetails(VIEW, reports=(report(classes=classes, items=[]),))
    shown = lines(score_page.scores(known, 80))
    assert [line.split()[0] for line in shown[-3:]] == ["class", "rare", "often"]


def test_a_file_that_is_no_report_is_named_and_takes_none_with_it() -> None:
    known = RunDetails(VIEW, reports=(report(),), unreadable_reports=("a.json", "torn.json"))
    shown = lines(score_page.scores(known, 80))
    assert shown[0].startswith(
        "evaluations/a.json, evaluations/torn.json cannot be read as reports"
    )
    assert " ".join(shown).count("torn.json") == 1
    assert shown[2].startswith("test  ")


def test_without_scores_it_says_how_to_measure_them() -> None:
    shown = lines(score_page.scores(RunDetails(VIEW), 80))
    assert shown == ["no scores: tui-trainer evaluate a-1 --data FILE measures them"]
    other = RunView(RunSummary(Path("/x"), "x", "x", "csv", "completed", tool="csv"))
    assert "csv does not record them" in score_page.scores(RunDetails(other), 80).plain
