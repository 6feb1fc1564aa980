"""`runs list` with the scores of evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.runs.test_diff import run
from tests.watch.runs.details.test_evaluation_diff import scores
from tui_trainer.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """The arguments of `runs list` over three runs, one of them without evaluations."""
    run(tmp_path, "low", scores(metrics={"accuracy": 0.5}))
    run(tmp_path, "high", scores(metrics={"accuracy": 0.875, "loss": 1.0}))
    run(tmp_path, "bare")
    return ["--runs-dir", str(tmp_path), "runs", "list"]


def names(capsys: Capture) -> list[str]:
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]


def test_a_score_is_a_condition_an_order_and_a_column(runs: list[str], capsys: Capture) -> None:
    assert main.main([*runs, "--filter", "test.accuracy>0.6"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert "TEST.ACCURACY" in header.split() and "0.875" in row.split()
    assert main.main([*runs, "--sort", "accuracy"]) == 0
    assert names(capsys) == ["high", "low", "bare"], "the best first, those without a score last"
    assert main.main([*runs, "--sort", "-accuracy"]) == 0
    assert names(capsys) == ["low", "high", "bare"]
    assert main.main(runs) == 0
    assert "ACCURACY" not in capsys.readouterr().out


def test_unknown_scores_are_refused_with_the_nearest_name(runs: list[str], capsys: Capture) -> None:
    for option, text in (("--filter", "test.acuracy>0.6"), ("--sort", "test.acuracy")):
        assert main.main([*runs, option, text]) == 2
        assert "did you mean test.accuracy?" in capsys.readouterr().err


def test_an_unknown_score_without_any_evaluation(tmp_path: Path, capsys: Capture) -> None:
    run(tmp_path, "bare")
    assert main.main(["--runs-dir", str(tmp_path), "runs", "list", "--sort", "test.bleu"]) == 2
    assert "there is no field 'test.bleu'" in capsys.readouterr().err


def test_the_document_has_the_scores(runs: list[str], capsys: Capture) -> None:
    assert main.main([*runs, "--json", "--filter", "name=high"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    (evaluation,) = found["evaluations"]
    assert evaluation["name"] == "test" and evaluation["metrics"]["accuracy"] == 0.875
