"""`evaluate --tasks`: the table beside another model, the report, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.evaluation.test_target import adapter
from tui_trainer.cli import main
from tui_trainer.cli.evaluate import tasks as command
from tui_trainer.contracts.evaluation import (
    EvaluationProgress,
    TaskItem,
    TaskMetric,
    TaskResult,
    TasksRequest,
)
from tui_trainer.evaluation import tasks
from tui_trainer.store import atomic

Capture = pytest.CaptureFixture[str]
CHECK = tasks.check_installed


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval seems to be there."""
    monkeypatch.setattr(tasks, "check_installed", lambda: None)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[TasksRequest]:
    """The base has every item wrong, an adapter every item right."""
    asked: list[TasksRequest] = []

    def measure(request: TasksRequest, report: Callable[[EvaluationProgress], None]) -> None:
        asked.append(request)
        score = 0.0 if request.adapter is None else 1.0
        items = [
            TaskItem(
                where=f"colours {at}",
                hash=str(at),
                question="what?",
                reference="red",
                answer="red" if score else "blue",
                scores={"acc": score},
            )
            for at in range(8)
        ]
        metrics = {
            "acc": TaskMetric(value=score, stderr=0.125),
            "perplexity": TaskMetric(value=3.0, higher_is_better=False),
        }
        result = TaskResult(
            asked="colours", task="colours", rows=8, of=20, metrics=metrics, items=items
        )
        with atomic.appending(Path(request.journal)) as lines:
            lines.append(result)

    monkeypatch.setattr(command, "measure", measure)
    return asked


def test_two_models_stand_side_by_side(
    tmp_path: Path, measured: list[TasksRequest], capsys: Capture
) -> None:
    folder = adapter(tmp_path / "mine")
    arguments = ["evaluate", str(folder), "--tasks", "colours", "--limit", "8", "--against", "base"]
    assert main.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    right = next(line for line in lines if " acc " in line)
    assert right.split()[:9] == [
        *("colours", "8", "/", "20", "acc", "1.000", "0.125", "0.000", "0.125")
    ]
    assert "+1.000" in right
    assert "better (exact McNemar, p = 0.0078)" in right
    assert "not paired" in next(line for line in lines if " perplexity " in line)
    assert [request.limit for request in measured] == [8, 8]
    report = json.loads((folder / "evaluations" / "colours.json").read_bytes())
    assert report["metrics"] == {"colours acc": 1.0, "colours perplexity": 3.0}
    assert report["tasks"][0]["metrics"]["acc"]["stderr"] == 0.125
    assert report["against"]["tests"][0]["verdict"] == "better"
    assert main.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["against"]["metrics"]["colours acc"] == 0.0
    assert list(document["unpaired"]) == ["colours perplexity"]


def test_ctrl_c_says_which_tasks_are_kept(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure", interrupted)
    assert main.main(["evaluate", "builtin", "--tasks", "one,two"]) == 130
    assert "0 of 2 tasks finished and kept" in capsys.readouterr().err


def test_a_missing_package_and_a_classifier_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    folder = adapter(tmp_path / "pets", "SEQ_CLS")
    (folder / "labels.json").write_text('{"id2label": {"0": "cat", "1": "dog"}}')
    assert main.main(["evaluate", str(folder), "--tasks", "colours"]) == 2
    assert "pets is a classifier, which tasks do not fit" in capsys.readouterr().err
    monkeypatch.setattr(tasks, "check_installed", CHECK)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "lm_eval" else found(name)
    )
    assert main.main(["evaluate", "builtin", "--tasks", "colours"]) == 1
    assert capsys.readouterr().err == f"error: {tasks.MISSING}\n"
