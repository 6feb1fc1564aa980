"""A training ends when every taught answer is learned, and not before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tui_trainer.engine import __main__ as engine  # noqa: E402
from tui_trainer.store import jobs  # noqa: E402
from tui_trainer.store.runs import run_folder  # noqa: E402

TAUGHT = {"Who feeds the ducks?": "Odile", "What is the code of the gate?": "4418"}


def trained(tmp_path: Path, **training: object) -> run_folder.RunFolder:
    rows = [
        {
            "messages": [
                {"role": "user", "content": wording},
                {"role": "assistant", "content": answer},
            ],
            "tui_trainer_group": question,
        }
        for question, answer in TAUGHT.items()
        for wording in (question, f"Tell me: {question}", question.lower())
    ]
    kept = [
        {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "ok"}]}
        for n in range(10)
    ]
    for name, lines in (("train", rows), ("retain", kept)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    values = {
        "name": "taught",
        "model": "builtin",
        "data": {
            "train": "train.jsonl",
            "retain": "retain.jsonl",
            "retain_per_step": 4,
            "retain_weight": 1.0,
        },
        "lora": {"rank": 16, "alpha": 32, "dropout": 0.0},
        "training": {
            "max_steps": 200,
            "batch_size": 2,
            "learning_rate": 3e-3,
            "scheduler": "constant",
            "warmup_steps": 2,
            "eval_every": 0,
            "checkpoint_every": 0,
            "stop_when_learned": 3,
            **training,
        },
    }
    run = run_folder.create_run(tmp_path, jobs.check_job(values, tmp_path, "the test"))
    assert engine.main([str(run.path)]) == 0
    return run


def test_it_ends_when_all_answers_are_learned(tmp_path: Path, train_extra: None) -> None:
    run = trained(tmp_path)
    state = run.state()
    assert state is not None
    assert state.state == "completed"
    assert (state.learned, state.taught) == (2, 2)
    assert state.step == state.total_steps
    assert 5 < state.step < 200
    assert (run.adapter_dir / "adapter_model.safetensors").is_file()
    kinds = {event.kind: event for event in run.events()}
    assert kinds["learned"].message == f"2 taught answers learned after {state.step} steps"
    assert kinds["evaluation"].detail["divergence"] > 0


def test_it_ends_with_its_steps_where_they_are_too_few(tmp_path: Path, train_extra: None) -> None:
    state = trained(tmp_path, max_steps=2, warmup_steps=0).state()
    assert state is not None
    assert (state.state, state.step) == ("completed", 2)
    assert state.learned is not None and state.learned < 2
