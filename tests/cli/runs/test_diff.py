"""`runs diff`: evaluations on the same rows side by side, and others apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.watch.runs.details.test_evaluation_diff import scores
from tui_trainer.cli import main
from tui_trainer.contracts.evaluation import EvaluationScores
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store import atomic
from tui_trainer.store.runs import run_folder

Capture = pytest.CaptureFixture[str]


def run(where: Path, name: str, *evaluations: EvaluationScores) -> Path:
    """A run of another program's loop with these evaluations."""
    state = RunState(state="completed", step=3)
    folder = run_folder.create_loop_run(where, name, "a script", {}, state)
    folder.evaluations_dir.mkdir()
    for one in evaluations:
        atomic.write_json(folder.evaluations_dir / f"{one.name}.json", one)
    return folder.path


def test_evaluations_are_compared(tmp_path: Path, capsys: Capture) -> None:
    a = run(tmp_path, "a", scores(), scores(name="more", files=["more.csv"], data_hash="m"))
    b = run(tmp_path, "b", scores(metrics={"loss": 1.25, "accuracy": 0.875}))
    c = run(tmp_path, "c", scores(rows=30))
    (c / "evaluations" / "torn.json").write_text('{"name": "to')
    arguments = ["runs", "diff", str(a), str(b), str(c)]
    assert main.main(arguments) == 0
    printed = capsys.readouterr()
    rows = [line.split() for line in printed.out.splitlines()]
    assert ["test.jsonl", "rows", "40", "40", "–"] in rows
    assert ["test.jsonl", "loss", "1.500", "1.250", "*", "–"] in rows
    assert ["test.jsonl", "accuracy", "0.500", "0.875", "*", "–"] in rows
    text = printed.out
    assert text.index("The rows of these evaluations differ") < text.index("  c: test.jsonl, 30")
    assert text.index("Only one of the runs has") < text.index("  a: more.csv, 40 rows: loss 1.500")
    assert printed.err.count("c: evaluations/torn.json cannot be read as a report") == 1

    assert main.main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    (shared,) = found["evaluations"]
    assert (shared["data"], shared["rows"], shared["data_hash"]) == ("test.jsonl", 40, "d")
    assert shared["results"][1] == {
        "name": "accuracy", "values": [0.5, 0.875, None], "better": "high", "best": [1],
    }  # fmt: skip
    apart = [(one["run"], one["data"], one["rows_differ"]) for one in found["evaluations_apart"]]
    assert apart == [(0, "more.csv", False), (2, "test.jsonl", True)]


def test_show_names_a_report_that_cannot_be_read_once(tmp_path: Path, capsys: Capture) -> None:
    path = run(tmp_path, "a")
    for name in ("torn", "other"):
        (path / "evaluations" / f"{name}.json").write_text('{"name": "to')
    assert main.main(["runs", "show", str(path)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert (
        text.count("evaluations/other.json, evaluations/torn.json cannot be read as reports") == 1
    )


def test_runs_without_evaluations_have_no_rows_of_them(tmp_path: Path, capsys: Capture) -> None:
    assert main.main(["runs", "diff", *(str(run(tmp_path, name)) for name in "ab")]) == 0
    assert "evaluat" not in capsys.readouterr().out
