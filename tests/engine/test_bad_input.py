"""Bad input is reported in one sentence, in the state and by the exit status."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.preflight.estimate import estimate
from tui_trainer.engine.preflight.find_lr import find_rate
from tui_trainer.store import jobs
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder

GOOD = {"question": "what?", "answer": "that"}

CASES: list[tuple[dict[str, Any], str]] = [
    (
        {"rows": [GOOD, {**GOOD, "question": "who?"}, {"question": "why?"}]},
        "no answer field beside 'question' (train.jsonl line 3)",
    ),
    ({"rows": [{"text": " "}, {"text": ""}]}, "all 2 rows are empty"),
    ({"rows": [GOOD, GOOD]}, "at least two different training rows"),
    ({"task": "classification"}, "needs the fields text and label (or category)"),
    (
        {"task": "classification", "rows": [{"text": "a", "label": 1}, {"text": "b", "label": 1}]},
        "needs at least two labels",
    ),
    ({"rows": [{"a": 1}]}, "fields not recognised (a)"),
    (
        {"rows": [{"messages": [{"role": "user", "content": "hi"}]}]},
        "has no assistant turn",
    ),
    (
        {"rows": [{**GOOD, "weight": -1}]},
        "the weight is not a number above 0 (train.jsonl line 1: -1)",
    ),
    ({"lora": {"rank": 33}}, "lora.rank = 33 is larger than the layer"),
    ({"lora": {"rank_pattern": {"q_proj": 40}}}, "lora.rank_pattern 'q_proj' = 40 is larger than"),
    ({"lora": {"rank_pattern": {"q_prj": 2}}}, "'q_prj' matches no layer that gets an adapter"),
    ({"lora": {"alpha_pattern": {"lm_head": 2}}}, "these layers end in: down_proj, gate_proj"),
    ({"lora": {"target_modules": ["no_such_proj"]}}, "no_such_proj"),
    (
        {"data": {"max_length": 1000}, "rows": [{"text": "x" * i} for i in range(900, 909)]},
        "reads at most 256",
    ),
    ({"data": {"max_length": 8}}, "raise data.max_length"),
    ({"model": "nobody/nothing-here"}, "model 'nobody/nothing-here' is neither a local folder"),
]


@pytest.mark.parametrize(("changes", "sentence"), CASES, ids=[case[1][:30] for case in CASES])
def test_bad_input_is_reported_in_one_sentence(
    changes: dict[str, Any],
    sentence: str,
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
) -> None:
    folder = make_run(**changes)
    assert run_engine(folder) == 2
    state = folder.state()
    assert state is not None
    assert state.state == "failed"
    assert sentence in state.message
    assert "\n" not in state.message
    assert [event.message for event in folder.events() if event.kind == "error"] == [state.message]


@pytest.fixture
def spoilt_base(tiny_base: Path, tmp_path: Path) -> Callable[[str, float], Path]:
    """The tiny base with a value in one of its tensors, or in one more that it does not use."""

    def make(tensor: str, value: float) -> Path:
        folder = tmp_path / "spoilt"
        shutil.copytree(tiny_base, folder)
        tensors = load_file(folder / "model.safetensors")
        changed = tensors.get(tensor, torch.zeros(3)).clone()
        changed[-1] = value
        save_file(tensors | {tensor: changed}, folder / "model.safetensors", {"format": "pt"})
        return folder

    return make


def test_a_base_with_values_that_are_not_finite_is_not_trained(
    spoilt_base: Callable[[str, float], Path],
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
) -> None:
    folder = make_run(model=str(spoilt_base("model.norm.weight", float("inf"))))
    assert run_engine(folder) == 2
    state, info = folder.state(), folder.info()
    assert state is not None
    assert info is not None
    assert "1 parameter contains NaN or infinity (model.norm.weight)" in state.message
    assert (state.state, folder.metrics_file.read_bytes()) == ("failed", b"")
    for tried in (estimate, find_rate):
        with pytest.raises(UserError, match=r"NaN or infinity \(model.norm.weight\)"):
            tried(info.job)


def test_a_tensor_that_the_base_does_not_use_is_named(
    spoilt_base: Callable[[str, float], Path],
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
) -> None:
    folder = make_run(
        model=str(spoilt_base("more.weight", float("nan"))), training={"max_steps": 1}
    )
    assert run_engine(folder) == 0
    warnings = [event.message for event in folder.events() if event.kind == "warning"]
    assert "the base does not use 1 tensor in its files: more.weight" in warnings


def test_no_run_is_created_for_a_truncated_base(tiny_base: Path, tmp_path: Path) -> None:
    base = tmp_path / "cut"
    shutil.copytree(tiny_base, base)
    weights = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(weights[:-7])
    (tmp_path / "train.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "job.toml").write_text(f'model = "{base}"\n[data]\ntrain = "train.jsonl"\n')
    job = jobs.load_job(tmp_path / "job.toml")
    with pytest.raises(UserError, match=r"cannot be used: model.safetensors is incomplete"):
        run_folder.create_run(tmp_path / "runs", job)
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_is_not_a_run(
    tmp_path: Any, run_engine: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_engine(RunFolder(tmp_path)) == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert run_engine(RunFolder(tmp_path / "absent")) == 2
    assert "is not a writable run folder" in capsys.readouterr().err
