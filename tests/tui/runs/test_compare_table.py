"""The comparison view: evaluations on the same rows side by side, and others apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.watch.runs.details.test_evaluation_diff import scores
from tui_trainer.store.runs.evaluation_files import FoundScores
from tui_trainer.tui.runs.compare_table import contrast_text
from tui_trainer.watch.snapshots import RunSummary, RunView

VIEWS = [RunView(RunSummary(Path(name), name, name, "run", "completed")) for name in "abcde"]


@pytest.mark.parametrize("width", [56, 76, 196])
def test_evaluations_are_shown_in_every_band(width: int) -> None:
    better = scores(metrics={"loss": 1.25, "accuracy": 0.875})
    other = FoundScores((scores(rows=30),), ("torn.json",))
    found = [FoundScores((scores(),)), FoundScores((scores(),)), FoundScores(), other,
             FoundScores((better,))]  # fmt: skip
    text = contrast_text(VIEWS, "ABCDE", width, found).plain
    lines = text.split("\n")
    assert max(map(len, lines)) <= width
    assert "evaluated on test.jsonl, 40 rows" in lines
    assert "◆ 1.250" in text and "◆ 0.875" in text and text.count("◆ 0") == 1
    joined = " ".join(text.split())
    assert "The rows of these evaluations differ from those of the other runs" in joined
    assert "D: test.jsonl, 30 rows: loss 1.500 accuracy 0.500" in joined
    assert "D: evaluations/torn.json cannot be read as a report" in joined


def test_without_evaluations_nothing_is_said_about_them() -> None:
    assert "evaluat" not in contrast_text(VIEWS[:2], "AB", 76, [FoundScores()] * 2).plain
