"""What `runs show` and the details tell of a classification: classes, confusions, data."""

from __future__ import annotations

import msgspec

from tui_trainer.cli import output
from tui_trainer.contracts.data import (
    AugmentReport,
    DataReport,
    LeftOutRows,
    PartReport,
    Repeats,
    UnusedField,
)
from tui_trainer.contracts.evaluation import ClassScore, Evaluation, EvaluationFile
from tui_trainer.watch.runs import evaluation_lines

DATA = DataReport(
    train=PartReport(examples=10, tokens=1234, cut=2),
    validation=PartReport(),
    replay=PartReport(),
    repeats=Repeats(exact=3),
)


def evaluation(labels: list[str], confusion: list[list[int]]) -> EvaluationFile:
    classes = [
        ClassScore(label=label, precision=0.5, recall=0.25, f1=i / 10, support=sum(confusion[i]))
        for i, label in enumerate(labels)
    ]
    found = Evaluation(
        step=40,
        time=0.0,
        val_loss=1.0,
        accuracy=0.75,
        precision_macro=0.7,
        recall_macro=0.6,
        f1_macro=0.65,
        classes=classes,
        confusion=confusion,
    )
    return EvaluationFile(labels=labels, newest=found, best=None)


def test_few_classes_show_the_whole_matrix() -> None:
    found = evaluation_lines.lines(evaluation(["x\x1b", "y"], [[9, 1], [0, 12]]))
    text = "\n".join(output.pairs([pair]).replace("  ", " | ", 1) for pair in found)
    assert "newest | step 40  accuracy 0.750  macro F1 0.650  precision 0.700  recall 0.600" in text
    assert "x\\x1b | F1 0.000  precision 0.500  recall 0.250  of 10" in text
    assert text.endswith("true \\ taken for |   0  1\n0 x\\x1b |   9  1\n1 y |   0 12")


def test_many_classes_show_the_commonest_confusions() -> None:
    labels = [f"c{i}" for i in range(12)]
    confusion = [[0] * 12 for _ in labels]
    confusion[3][5], confusion[4][4], confusion[1][0] = 7, 99, 8
    found = evaluation_lines.lines(evaluation(labels, confusion))
    assert found[-2:] == [("c1", "8 times taken for c0"), ("c3", "7 times taken for c5")]


def test_data_shows_what_was_left_out_and_what_is_not_used() -> None:
    marked = LeftOutRows(reason="marked as wrong", rows=4, where=["a.jsonl line 1"])
    context = UnusedField(field="context", rows=1, where=["a.jsonl line 2"])
    train = PartReport(
        rows=14, examples=10, left_out=[marked], unused=[context], columns=["id"], more_columns=2
    )
    old = msgspec.convert({"rows": 5, "empty": 3}, PartReport)  # a record of an earlier version
    report = DataReport(train=train, validation=old, replay=PartReport())
    assert evaluation_lines.data_lines(report) == [
        ("training examples", "10"),
        ("left out of training", "4: marked as wrong (a.jsonl line 1, …)"),
        ("unused training fields", "'context' in 1 row (a.jsonl line 2)"),
        ("unused training columns", "id and 2 more"),
        ("left out of validation", "3: empty"),
    ]


def test_data_shows_what_is_not_zero() -> None:
    assert evaluation_lines.data_lines(DATA) == [
        ("training examples", "10"),
        ("tokens", "1,234"),
        ("over-long, cut", "2"),
        ("said again", "3"),
    ]
    made = AugmentReport(method="paraphrase", model="m", asked=9, added=7, seconds=1.0)
    more = msgspec.structs.replace(DATA, augmented=made)
    assert evaluation_lines.data_lines(more)[-1] == ("written by a model", "7")
    assert evaluation_lines.lines(None) == evaluation_lines.data_lines(None) == []
