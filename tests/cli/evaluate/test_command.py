"""`evaluate`: what it prints and writes, the gate's exit status, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.repl.conftest import Room
from tests.weights import one_tensor
from tui_trainer.cli import main
from tui_trainer.cli.evaluate import command
from tui_trainer.contracts.evaluation import (
    EvaluationProgress,
    EvaluationRequest,
    JournalAnswer,
    JournalClass,
    JournalItem,
    JournalLoss,
    JournalStart,
)
from tui_trainer.evaluation import golden, metrics
from tui_trainer.store import atomic, jobs
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder

Capture = pytest.CaptureFixture[str]
QUESTIONS = {"What is the capital of France?": "Paris", "What is the capital of Italy?": "Rome"}


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"question": question, "answer": answer} for question, answer in QUESTIONS.items()]
    write(tmp_path / "test.jsonl", rows)
    write(tmp_path / "my-golden.jsonl", rows)
    write(tmp_path / "train.jsonl", rows)
    monkeypatch.setattr(metrics, "CORPUS", ())
    monkeypatch.setattr(metrics, "ANSWERS", ("exact_match", "token_f1", "rougeL"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose adapter seems to be there."""
    (tmp_path / "job.toml").write_text('name = "small"\n[data]\ntrain = "train.jsonl"\n')
    folder = run_folder.create_run(tmp_path / "runs", jobs.load_job(tmp_path / "job.toml"))
    folder.adapter_dir.mkdir()
    (folder.adapter_dir / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder.adapter_dir / "adapter_model.safetensors").write_bytes(one_tensor())
    return folder


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> list[EvaluationRequest]:
    """The base answers everything right, an adapter only the first question."""
    asked: list[EvaluationRequest] = []

    def measure(
        request: EvaluationRequest, on_progress: Callable[[EvaluationProgress], None]
    ) -> None:
        asked.append(request)
        on_progress(EvaluationProgress(phase="answers", done=1, total=2))
        lines: list[Any] = [JournalStart(rows=len(QUESTIONS))]
        for row, (question, answer) in enumerate(QUESTIONS.items()):
            given = answer if request.adapter is None or row == 0 else "London"
            lines += [
                JournalItem(row=row, where=f"line {row}", question=question, reference=answer),
                JournalLoss(row=row, loss=2.0, tokens=4, hits=2),
                JournalAnswer(row=row, answer=given),
            ]
        with atomic.appending(Path(request.journal)) as file:
            file.append_all(lines)

    monkeypatch.setattr(command, "measure", measure)
    return asked


def test_a_run_is_measured_printed_and_written(
    run: RunFolder, answering: list[EvaluationRequest], capsys: Capture
) -> None:
    assert main.main(["evaluate", "small", "--data", "test.jsonl"]) == 0
    printed = capsys.readouterr()
    assert "small on test.jsonl: 2 rows" in printed.out
    assert "exact_match     0.500" in printed.out
    rows = [line for line in printed.out.splitlines() if line.startswith("line ")]
    assert [row.split()[1] for row in rows] == ["1", "0"]
    assert "wrong, 0.000" in rows[0]
    assert "small: answers 1 / 2" in printed.err
    written = json.loads((run.evaluations_dir / "test.json").read_bytes())
    assert written["metrics"]["perplexity"] == pytest.approx(2.718281828**0.5)
    assert written["rows"] == 2
    assert answering[0].max_length == 512
    assert answering[0].adapter == str(run.adapter_dir)


def test_two_models_stand_side_by_side(
    run: RunFolder, answering: list[EvaluationRequest], capsys: Capture
) -> None:
    arguments = ["evaluate", "small", "--data", "test.jsonl", "--against", "base"]
    assert main.main(arguments) == 0
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("exact_match"))
    assert line.split()[1:5] == ["0.500", "1.000", "-0.500", "too"]
    written = json.loads((run.evaluations_dir / "test.json").read_bytes())["against"]
    assert written["target"] == "base builtin" and written["metrics"]["exact_match"] == 1.0
    assert [item["after"] for item in written["lost"]] == ["London"] and written["won"] == []
    last = [line for line in printed.splitlines() if line.startswith("line ")]
    assert last[0].split()[-5:] == ["Rome", "London", "Rome", "wrong,", "0.000"]
    assert main.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["against"]["metrics"]["exact_match"] == 1
    assert document["comparison"][1]["metric"] == "exact_match"
    assert document["gate"] is None
    assert document["evaluation"]["items"][1]["answer"] == "London"


def test_a_lost_golden_answer_blocks_and_a_lost_row_does_not(
    run: RunFolder, answering: list[EvaluationRequest], capsys: Capture
) -> None:
    assert main.main(["evaluate", "small", "--data", "test.jsonl", "--gate"]) == 0
    assert "gate: passed" in capsys.readouterr().out
    for option in (["--data", "my-golden.jsonl"], ["--golden", "test.jsonl"]):
        assert main.main(["evaluate", "small", "--gate", *option]) == 1
        printed = capsys.readouterr().out
        assert "gate: blocked: 1 golden answer lost" in printed
        assert "line 1 (golden)" in printed
    golden.add(golden.own_file(), golden.GoldenItem("What is the capital of Italy?", "Rome"))
    assert main.main(["evaluate", "small", "--gate"]) == 1


@pytest.mark.parametrize("phase", ["losses", "answers"])
def test_ctrl_c_counts_what_the_journal_has(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: Capture, phase: str
) -> None:
    def interrupted(
        request: EvaluationRequest, on_progress: Callable[[EvaluationProgress], None]
    ) -> None:
        lines: list[Any] = [JournalStart(rows=3)]
        lines += [JournalLoss(row=row, loss=2.0, tokens=4, hits=2) for row in range(2)]
        lines.append(JournalAnswer(row=0, answer="Paris"))
        with atomic.appending(Path(request.journal)) as file:
            file.append_all(lines)
        with Path(request.journal).open("ab") as torn:
            torn.write(b'{"kind":"answer","row":1,"ans')
        on_progress(EvaluationProgress(phase=phase, done=3, total=3))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure", interrupted)
    assert main.main(["evaluate", "small", "--data", "test.jsonl"]) == 130
    kept = 2 if phase == "losses" else 1
    printed = capsys.readouterr().err
    assert f"{phase}: {kept} of 3 rows are measured and kept; the same command" in printed


def test_a_classifier_gets_its_scores_by_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    model = tmp_path / "classifier"
    model.mkdir()
    config = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "cat", "1": "dog"},
    }
    (model / "config.json").write_text(json.dumps(config))

    def measure(request: EvaluationRequest, _: object) -> None:
        assert request.labels == ["cat", "dog"]
        assert not request.answers
        with atomic.appending(Path(request.journal)) as file:
            file.append(JournalStart(rows=2))
            for row, label in enumerate(request.labels):
                file.append(
                    JournalItem(row=row, where=f"line {row}", question="?", reference=label)
                )
                file.append(JournalClass(row=row, predicted="cat", probability=0.9, loss=0.5))

    monkeypatch.setattr(command, "measure", measure)
    assert main.main(["evaluate", str(model), "--data", "test.jsonl"]) == 0
    printed = capsys.readouterr().out
    assert "accuracy         0.500" in printed
    assert "true \\ predicted  cat  dog" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "--data", "test.jsonl"], "there is no run, adapter or model 'nobody'"),
        (["builtin", "--data", "absent.jsonl"], "--data: "),
        (["builtin"], "there is nothing to measure on: give --data FILE"),
        (["builtin", "--data", "test.jsonl", "--metric", "blue"], "there is no metric 'blue'"),
        (["builtin", "--data", "test.jsonl", "--metric", "accuracy"], "has no metric 'accuracy'"),
        (["builtin", "--data", "test.jsonl", "--gate"], "has no adapter, so it is its own base"),
        (["builtin", "--golden", "bad-golden.jsonl"], "line 1: the question is empty"),
        (["builtin", "--data", "test.jsonl", "--name", "../x"], "cannot be a folder's name"),
        (["builtin", "--task-files", "."], "--task-files has no effect without --tasks"),
        (
            ["builtin", "--tasks", "arc_easy", "--data", "test.jsonl", "--max-new-tokens", "3"],
            "--data and --max-new-tokens cannot be used together with --tasks",
        ),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    tmp_path: Path, capsys: Capture, arguments: list[str], message: str
) -> None:
    write(tmp_path / "bad-golden.jsonl", [{"question": " ", "answer": "x"}])
    assert main.main(["evaluate", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_the_result_of_an_adapter_of_the_list_is_written_to_its_folder(
    answering: list[EvaluationRequest], capsys: Capture
) -> None:
    folder = Room().add_adapter("mine")
    assert main.main(["evaluate", "mine", "--data", "test.jsonl"]) == 0
    assert "written to" in capsys.readouterr().err
    (scores,) = AdapterStore().entry("mine").evaluations
    assert (scores.name, scores.rows, scores.metrics["exact_match"]) == ("test", 2, 0.5)
    assert (folder / "evaluations" / "test.json").is_file()
    assert AdapterStore().problem("mine") is None
