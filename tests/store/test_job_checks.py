"""A job is looked over before anything loads: what is wrong or odd, and what would be right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.cli import main
from tui_trainer.contracts.errors import UserError
from tui_trainer.store import job_checks, jobs

CASES: list[tuple[dict[str, Any], str, str]] = [
    (
        {"training": {"warmup_steps": 40}},
        "training.warmup_steps",
        "not less than the 40 steps of the run",
    ),
    ({"training": {"learning_rate": 0.5}}, "training.learning_rate", "0.5 is very high"),
    ({"training": {"learning_rate": 1e-8}}, "training.learning_rate", "1e-8 is very low"),
    (
        {"training": {"eval_every": 90}, "data": {"val_split": 0.5}},
        "training.eval_every",
        "90 is more than the 40 steps of the run: the only evaluation is at the end",
    ),
    (
        {"training": {"batch_size": 64}},
        "training.batch_size",
        "a step has 64 examples and the data 30 rows",
    ),
    (
        {"training": {"batch_size": 2, "processes": 4}},
        "training.processes",
        "= 4 is more than the 2 examples of a step, so that some processes are idle",
    ),
    ({"training": {"sharding": "fsdp"}}, "training.sharding", "has no effect with one process"),
    (
        {"samples": {"prompts": ["hi"]}, "training": {"sharding": "fsdp", "processes": 2}},
        "samples.prompts",
        'needs training.sharding = "none"',
    ),
    (
        {"samples": {"prompts": ["hello?"]}, "task": "classification"},
        "samples.prompts",
        "is only for causal-lm, as a classifier writes no text: delete it",
    ),
    (
        {"samples": {"prompts": ["hello?"]}, "training": {"eval_every": 0}},
        "samples.prompts",
        "answered only at start and end",
    ),
    ({"lora": {"rank": 2, "alpha": 64}}, "lora.alpha", "= 32 is large"),
    ({"data": {"replay_per_step": 3}}, "data.replay_per_step", "has no effect"),
    (
        {"training": {"early_stopping_patience": 2}},
        "training.early_stopping_patience",
        "needs validation data",
    ),
    (
        {"training": {"early_stopping_metric": "val_f1_macro"}},
        "training.best_metric",
        '"val_f1_macro" is only for classification',
    ),
    (
        {"training": {"best_metric": "min:val_los"}},
        "training.best_metric",
        "is not a metric of the evaluations; with task causal-lm use one of: val_loss, val_perp",
    ),
    (
        {"training": {"best_metric": "least:val_loss"}},
        "training.best_metric",
        'is neither "max:NAME" nor "min:NAME"',
    ),
    (
        {"training": {"best_metric": "val_accuracy"}},
        "training.best_metric",
        "has no effect without validation data: the last step is saved",
    ),
    (
        {"task": "classification", "training": {"stop_when_learned": 2}},
        "training.stop_when_learned",
        "is only for causal-lm: delete it",
    ),
    (
        {"training": {"stop_when_learned": 2, "processes": 2}},
        "training.stop_when_learned",
        "needs training.processes = 1, as learned answers are counted in one process",
    ),
    (
        {"training": {"momentum": 0.9}},
        "training.momentum",
        "only for sgd and rmsprop, not for adamw",
    ),
    (
        {"training": {"optimizer": "sgd", "nesterov": True}},
        "training.nesterov",
        "and a training.momentum above 0",
    ),
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    lines = [json.dumps({"question": str(i), "answer": "x"}) for i in range(30)]
    file.write_text("\n".join(lines) + "\n\n")
    return file


def values(rows: Path, changes: dict[str, Any]) -> dict[str, Any]:
    base: dict[str, Any] = {"data": {"train": str(rows)}, "training": {"max_steps": 40}}
    for section, change in changes.items():
        base[section] = {**base.get(section, {}), **change} if isinstance(change, dict) else change
    return base


def test_an_unknown_metric_ends_a_training_before_it_starts(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.toml"
    file.write_text(f'[data]\ntrain = "{rows}"\n[training]\nbest_metric = "bleu"\n')
    assert main.main(["train", str(file), "--headless", "--runs-dir", str(tmp_path / "runs")]) == 2
    assert 'training.best_metric = "bleu" is not a metric of the' in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_former_name_of_the_metric_is_read(rows: Path) -> None:
    changes: dict[str, Any] = {"training": {"early_stopping_metric": "val_accuracy"}}
    job = jobs.check_job(values(rows, changes), rows.parent, "t")
    assert job.training.best_metric == "val_accuracy"
    assert b"early_stopping_metric" not in msgspec.json.encode(job)
    changes["training"]["best_metric"] = "val_loss"
    with pytest.raises(UserError, match="early_stopping_metric is the former name of best_metric"):
        jobs.check_job(values(rows, changes), rows.parent, "t")


def test_a_usual_job_has_no_issues(rows: Path) -> None:
    job = jobs.check_job(values(rows, {"data": {"val_split": 0.1}}), rows.parent, "t")
    short = jobs.check_job(
        values(rows, {"data": {"val_split": 0.1}, "training": {"eval_every": 40}}), rows.parent, "t"
    )
    assert job_checks.check(short) == []
    assert [finding.key for finding in job_checks.check(job)] == ["training.eval_every"]


@pytest.mark.parametrize(("changes", "key", "expected"), CASES, ids=[case[1] for case in CASES])
def test_issues_are_found(rows: Path, changes: dict[str, Any], key: str, expected: str) -> None:
    found = job_checks.check(jobs.check_job(values(rows, changes), rows.parent, "t"))
    assert [finding.key for finding in found] == [key]
    assert expected in found[0].message


def test_retained_answers_need_a_single_process(rows: Path) -> None:
    retain = {"data": {"retain": str(rows), "retain_per_step": 2}}
    alone = jobs.check_job(values(rows, retain), rows.parent, "t")
    assert job_checks.check(alone) == []
    changes = {**retain, "training": {"processes": 2}}
    shared = jobs.check_job(values(rows, changes), rows.parent, "t")
    (found,) = job_checks.check(shared)
    assert (found.level, found.key) == ("error", "data.retain")
    assert found.message == (
        "data.retain needs training.processes = 1, as the base's own predictions are compared in "
        "one process: set that, or delete data.retain"
    )
    assert job_checks.process_errors(alone) == [found], "where torchrun starts several"


def test_what_is_not_installed_is_named_before_anything_loads(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    job = jobs.check_job(values(rows, {"training": {"optimizer": "adamw-8bit"}}), rows.parent, "t")
    (found,) = job_checks.check(job)
    assert (found.level, found.key) == ("error", "training.optimizer")
    assert found.message.endswith('needs bitsandbytes: pip install bitsandbytes, or use "adamw"')


def test_steps_follow_from_the_rows(rows: Path, tmp_path: Path) -> None:
    table = tmp_path / "more.csv"
    table.write_text('question,answer\n"a\nb",c\nd,e\n')
    job = jobs.check_job(
        {
            "data": {"train": [str(rows), str(table)], "val_split": 0.25},
            "training": {"epochs": 2, "batch_size": 5},
        },
        tmp_path,
        "t",
    )
    assert job_checks.count_rows([rows, table]) == 32
    assert job_checks.planned_steps(job, 32) == 10


def test_estimate_prints_warnings_and_train_stops_at_errors(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    file = tmp_path / "job.toml"
    file.write_text('[data]\ntrain = "rows.jsonl"\n[training]\nmax_steps = 5\nlearning_rate = 3\n')
    assert main.main(["estimate", "job.toml"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["warning", "warning", "error"]
    stop = "training.early_stopping_patience=2"
    assert main.main(["train", "job.toml", "--headless", "--set", stop]) == 2
    assert "needs validation data" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_form_shows_warnings_and_refuses_errors(rows: Path) -> None:
    from tui_trainer.tui.new_run import fields
    from tui_trainer.tui.new_run.screen import summary_of

    job = jobs.check_job(values(rows, {"training": {"warmup_steps": 40}}), rows.parent, "t")
    texts = fields.texts_of(job)
    checked = fields.check(texts, rows.parent)
    assert checked.job == job and not checked.errors
    assert summary_of(checked).startswith("ready to start, but check warmup steps: 40 is ")


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("t.jsonl", '\ufeff{"text": "a"}\n\n{"text": "b"}', 2),
        ("t.jsonl", '[{"text": "a"}, {"text": "b"}]', None),
        ("t.jsonl", '{\n"text": "a"\n}\n', None),
        ("t.jsonl", '\x1f\x8b{"text": "a"}\n', None),
        ("t.csv", "a;b\n1;2\n\n3;4\n", 2),
        ("t.tsv", "a\tb\n1\t2\n", 1),
        ("t.jsonl.gz", "{}", None),
    ],
)
def test_rows_are_counted_where_the_content_is_one_a_line(
    tmp_path: Path, name: str, content: str, rows: int | None
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    assert job_checks.count_rows([file]) == rows
    if rows is not None:
        assert job_checks.count_rows([file, file], [1.0, 2.5]) == round(3.5 * rows)
