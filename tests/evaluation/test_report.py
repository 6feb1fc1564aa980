"""From a journal to the scores of an evaluation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import (
    EvaluationRequest,
    JournalAnswer,
    JournalClass,
    JournalItem,
    JournalLoss,
    JournalStart,
)
from tui_trainer.evaluation import journal, metrics, report
from tui_trainer.evaluation.journal import Journal
from tui_trainer.store import atomic


def answered() -> Journal:
    texts = [("Paris", "paris"), ("Rome", "It is Rome"), ("Blue", "red")]
    return Journal(
        start=JournalStart(rows=4),
        items={
            **{
                row: JournalItem(row=row, where=f"t line {row}", question="?", reference=expected)
                for row, (expected, _) in enumerate(texts)
            },
            3: JournalItem(row=3, where="t line 3", question="a text"),
        },
        losses={
            0: JournalLoss(row=0, loss=2.0, tokens=2, hits=2),
            3: JournalLoss(row=3, loss=10.0, tokens=4, hits=1, weight=0.5),
        },
        answers={row: JournalAnswer(row=row, answer=text) for row, (_, text) in enumerate(texts)},
    )


def test_losses_are_means_over_tokens_by_weight() -> None:
    scored = report.Scored(answered(), "causal-lm", metrics.LOSSES, [])
    assert scored.values["loss"] == pytest.approx((2.0 + 5.0) / (2 + 2))
    assert scored.values["perplexity"] == pytest.approx(math.exp(7 / 4))
    assert scored.values["token_accuracy"] == pytest.approx((2 + 0.5) / 4)
    assert scored.tokens == 6


def test_answers_are_scored_by_row_and_the_worst_come_first() -> None:
    scored = report.Scored(answered(), "causal-lm", ["exact_match", "token_f1"], [])
    assert scored.values["exact_match"] == pytest.approx(1 / 3)
    assert scored.values["token_f1"] == pytest.approx((1 + 0.5 + 0) / 3)
    asked = [item for item in scored.items if item.answer is not None]
    assert [item.answer for item in report.worst_first(asked)] == ["red", "It is Rome", "paris"]
    assert [item.right for item in scored.items] == [True, False, False, None]


def test_a_loss_that_is_not_finite_is_none() -> None:
    found = answered()
    found.losses[0] = JournalLoss(row=0, loss=None, tokens=2, hits=0)
    values = report.Scored(found, "causal-lm", metrics.LOSSES, []).values
    assert values["loss"] is values["perplexity"] is None


def test_key_facts_decide_whether_a_golden_answer_is_right() -> None:
    found = answered()
    found.items[1] = JournalItem(row=1, where="t", question="?", reference="Rome", facts=["rome"])
    assert report.Scored(found, "causal-lm", metrics.ANSWERS[:2], []).items[1].right


def test_a_class_that_was_never_trained_counts_as_wrong_and_is_named() -> None:
    labels = ["cat", "dog"]
    true = ["cat", "dog", "fox"]
    found = Journal(
        start=JournalStart(rows=3),
        items={
            row: JournalItem(row=row, where=f"t line {row}", question="?", reference=label)
            for row, label in enumerate(true)
        },
        classes={
            0: JournalClass(row=0, predicted="cat", probability=0.9, loss=0.1),
            1: JournalClass(row=1, predicted="cat", probability=0.6, loss=0.9),
            2: JournalClass(row=2, predicted="dog", probability=0.5),
        },
    )
    scored = report.Scored(found, "classification", metrics.CLASSES, labels)
    assert scored.values["accuracy"] == pytest.approx(1 / 3)
    assert scored.values["loss"] == pytest.approx(0.5)
    assert scored.labels == ["cat", "dog", "fox"]
    assert scored.notices == [
        "1 row of 1 class that the model was not trained on count as wrong, and not in the loss: "
        "'fox'"
    ]
    assert scored.classes is not None
    assert scored.classes.confusion == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_metrics_of_answers_need_a_file_with_answers() -> None:
    texts = Journal(items={0: JournalItem(row=0, where="t line 1", question="a text")})
    with pytest.raises(UserError, match=r"t\.jsonl has no answers, which bleu needs"):
        report.check_answers(texts, "bleu", "t.jsonl")
    report.check_answers(texts, None, "t.jsonl")


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("blue", "causal-lm", r"there is no metric 'blue'; did you mean 'bleu'\? there are: loss"),
        ("f1", "causal-lm", r"a model that writes answers has no metric 'f1'; there are: loss"),
        ("bleu", "classification", r"a classifier has no metric 'bleu'; there are: loss"),
    ],
)
def test_a_metric_that_is_unknown_or_of_the_other_task_is_one_sentence(
    name: str, task: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        metrics.chosen([name], task)  # type: ignore[arg-type]


def test_short_names_of_a_classifiers_metrics() -> None:
    assert metrics.chosen(["f1", "f1_macro", "loss"], "classification") == ["f1_macro", "loss"]


def test_a_journal_that_was_cut_off_keeps_its_whole_lines(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with atomic.appending(file) as lines:
        lines.append(JournalStart(rows=1))
        lines.append(JournalItem(row=0, where="t line 1", question="?", reference="!"))
        lines.append(JournalAnswer(row=0, answer="!"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    found = journal.read(file)
    assert found.begun
    assert not found.answers
    assert not journal.read(tmp_path / "absent.jsonl").begun


def test_a_journal_belongs_to_model_data_and_settings(tmp_path: Path) -> None:
    request = EvaluationRequest(
        model=str(tmp_path), adapter=None, task="causal-lm", files=["a.jsonl"], journal=""
    )
    (tmp_path / "config.json").write_text("{}")
    name = journal.file_of(request, "1")
    assert journal.file_of(request, "1") == name
    assert journal.file_of(request, "2") != name
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert journal.file_of(request, "1") != name


def test_a_damaged_report_takes_no_other_with_it(tmp_path: Path) -> None:
    request = EvaluationRequest(
        model="builtin", adapter=None, task="causal-lm", files=["t"], journal=""
    )
    scored = report.Scored(answered(), "causal-lm", metrics.LOSSES, [])
    for name in ("first", "second"):
        report.write(report.make(name, "builtin", request, "", scored), tmp_path)
    (tmp_path / "torn.json").write_text('{"schema": 1, "na')
    (tmp_path / "folder.json").mkdir()
    found, others = report.read_all(tmp_path)
    assert [one.name for one in found] == ["second", "first"], "the newest comes first"
    assert found[0].metrics["loss"] == pytest.approx(7 / 4)
    assert others == ["folder.json", "torn.json"]
    assert report.read_all(tmp_path / "none") == ([], [])
