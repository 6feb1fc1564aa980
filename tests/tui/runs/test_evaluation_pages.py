"""The pages of a run's details about its data and a classifier's classes."""

from __future__ import annotations

from pathlib import Path

import msgspec
from textual.content import Content

from tests.watch.runs.details.test_evaluation_lines import DATA, evaluation
from tui_trainer.contracts.runs.data_report import LabelReport
from tui_trainer.tui.runs import evaluation_pages
from tui_trainer.watch.runs.details.run_details import RunDetails
from tui_trainer.watch.snapshots import RunSummary, RunView

VIEW = RunView(RunSummary(Path("/runs/a"), "a", "alpha", "run", "completed"))


def text(page: Content, width: int) -> list[str]:
    lines = page.plain.split("\n")
    assert all(len(line) <= width for line in lines)
    return lines


def test_a_small_matrix_is_shown_whole_and_the_worst_class_first() -> None:
    known = RunDetails(VIEW, evaluation=evaluation(["cat[b]", "dog"], [[9, 1], [0, 1200]]))
    lines = text(evaluation_pages.classes(known, 60), 60)
    assert lines[0] == "the newest evaluation, step 40"
    assert "macro F1        0.650" in lines
    at = lines.index("class            F1  precision  recall  examples")
    assert lines[at + 1] == "cat[b]        0.000      0.500   0.250        10"
    assert [line.split()[0] for line in lines[at + 1 : at + 3]] == ["cat[b]", "dog"]
    assert [line.split() for line in lines[-2:]] == [
        ["1", "cat[b]", "9", "1"], ["2", "dog", "0", "1,200"],
    ]  # fmt: skip


def test_a_large_matrix_becomes_its_commonest_confusions() -> None:
    labels = [f"a_class_with_quite_a_long_name_{i}" for i in range(77)]
    confusion = [[0] * 77 for _ in labels]
    confusion[3][5], confusion[4][4], confusion[1][0] = 7, 99, 8
    known = RunDetails(VIEW, evaluation=evaluation(labels, confusion))
    lines = text(evaluation_pages.classes(known, 100), 100)
    assert lines[-2].split()[:2] == ["8", labels[1]] and lines[-1].split()[-1] == labels[5]


def test_the_data_page_has_counts_and_class_weights() -> None:
    labels = [
        LabelReport(label="often", train=90, validation=9, weight=0.8),
        LabelReport(label="rare", train=10, validation=1, weight=2.4),
    ]
    report = msgspec.structs.replace(DATA, labels=labels)
    lines = text(evaluation_pages.data(RunDetails(VIEW, data=report), 76), 76)
    assert lines[0].split() == ["training", "examples", "10"]
    assert [line.split() for line in lines[-2:]] == [
        ["rare", "10", "1", "2.40", "1×"], ["often", "90", "9", "0.80", "1×"],
    ]  # fmt: skip


def test_without_any_of_it_the_pages_give_the_reason() -> None:
    assert "only classification runs" in evaluation_pages.classes(RunDetails(VIEW), 60).plain
    begun = RunView(VIEW.summary, config={"task": "classification"})
    assert "first evaluation" in evaluation_pages.classes(RunDetails(begun), 60).plain
    assert evaluation_pages.data(RunDetails(VIEW), 60).plain.startswith("no data report")
