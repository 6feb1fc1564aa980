"""Scores are read in the background, at intervals, and again when a report changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.watch.runs.details.test_evaluation_diff import scores
from tui_trainer.store import atomic
from tui_trainer.tui.runs.score_loader import ScoreLoader
from tui_trainer.watch.snapshots import RunSummary


def test_new_reports_are_found_at_intervals(tmp_path: Path) -> None:
    run = RunSummary(tmp_path, "a", "a", "run", "completed")
    foreign = RunSummary(tmp_path, "b", "b", "jsonl", "recorded")
    now, calls = [0.0], []
    work: list[Callable[[], None]] = []
    loader = ScoreLoader(work.append, lambda: now[0])

    def read() -> None:
        loader.read([run, foreign], lambda: calls.append(now[0]))
        while work:
            work.pop()()

    read()
    assert loader.get(tmp_path) == {} and calls == [0.0]
    (tmp_path / "evaluations").mkdir()
    atomic.write_json(tmp_path / "evaluations" / "test.json", scores())
    now[0] = 1.0
    read()
    assert loader.get(tmp_path) == {}, "not yet"
    now[0] = 10.0
    read()
    assert loader.get(tmp_path)["test.loss"] == 1.5 and "accuracy" in loader.names
    now[0] = 20.0
    read()
    assert calls == [0.0, 10.0], "nothing is new"
