"""Bases quantised to 4 bits and optimizer moments in 8 bits, where bitsandbytes is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.checkpoints.test_resume import assert_same
from tui_trainer.engine import loop
from tui_trainer.store import job_checks, jobs
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
RunEngine = Callable[..., int]
Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]
TRAINING = {"max_steps": 8, "checkpoint_every": 2, "eval_every": 4, "learning_rate": 1e-2}


def torn_and_whole(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch, **job: Any
) -> tuple[RunFolder, RunFolder, list[Any]]:
    """A run, the same run stopped after step 5 and resumed, and their sessions."""
    sessions: list[Any] = []
    original = loop.step

    def step_or_die(session: Any) -> Any:
        if session not in sessions:
            sessions.append(session)
        if len(sessions) == 2 and session.state.step == 5:
            raise RuntimeError("injected")
        return original(session)

    monkeypatch.setattr(loop, "step", step_or_die)
    whole, torn = make_run(**job), make_run(**job)
    assert run_engine(whole) == 0
    assert run_engine(torn) == 1
    assert run_engine(torn) == 0
    return whole, torn, sessions


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_base_in_four_bits_learns_and_resumes_bit_for_bit(
    precision: str,
    make_run: MakeRun,
    run_engine: RunEngine,
    metrics: Metrics,
    tiny_base: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    training = {**TRAINING, "precision": precision}
    whole, torn, sessions = torn_and_whole(
        make_run, run_engine, monkeypatch, training=training, quantization="nf4"
    )
    assert_same(whole, torn, metrics)
    rows = metrics(whole)
    assert rows["eval", 8]["val_loss"] < rows["eval", 4]["val_loss"]
    layers = [
        module
        for module in sessions[0].model.modules()
        if isinstance(module, bitsandbytes.nn.Linear4bit)
    ]
    assert len(layers) == 2 * 7
    for layer in layers:
        assert layer.weight.dtype == torch.uint8 and layer.weight.quant_state.quant_type == "nf4"
        assert layer.weight.quant_state.nested, "its scales are quantised again"
    (setup,) = [e for e in whole.events() if e.kind == "setup"]
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    assert setup.detail["base_parameters"] == sum(p.numel() for p in base.parameters())
    plain = PeftModel.from_pretrained(base, str(whole.adapter_dir))
    assert torch.isfinite(plain(torch.arange(40, 60).unsqueeze(0)).logits).all()


@pytest.mark.parametrize("kind", ["encoder", "tiny_base"])
def test_the_head_of_a_classifier_is_not_quantised(
    kind: str,
    request: pytest.FixtureRequest,
    make_run: MakeRun,
    run_engine: RunEngine,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("bitsandbytes")
    rows = [
        {"text": f"the {('cat sat', 'dog ran')[i % 2]} {i} {'x' * (i % 7)}", "label": i % 2}
        for i in range(30)
    ]
    whole, torn, sessions = torn_and_whole(
        make_run,
        run_engine,
        monkeypatch,
        rows=rows,
        model=str(request.getfixturevalue(kind)),
        task="classification",
        training=TRAINING,
        quantization="nf4",
    )
    assert_same(whole, torn, metrics)
    kinds = {type(module).__name__ for module in sessions[0].model.modules()}
    assert "Linear4bit" in kinds
    assert all(value.dtype == torch.float32 for value in sessions[0].parameters.values())
    assert metrics(whole)["eval", 8]["val_loss"] < metrics(whole)["eval", 4]["val_loss"] + 0.2


def test_moments_of_eight_bits_resume_bit_for_bit(
    make_run: MakeRun, run_engine: RunEngine, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    whole, torn, sessions = torn_and_whole(
        make_run,
        run_engine,
        monkeypatch,
        training={**TRAINING, "optimizer": "adamw-8bit"},
        model="builtin",  # smaller tensors than 4,096 values keep 32 bits
        lora={"rank": 32, "alpha": 32, "target_modules": ["down_proj"]},
    )
    assert_same(whole, torn, metrics)
    kinds = {
        value.dtype
        for state in sessions[0].optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    }
    assert torch.uint8 in kinds


def test_missing_bitsandbytes_is_reported_before_anything_is_loaded(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for change, expected in (
        ({"quantization": "nf4"}, 'quantization = "nf4" needs bitsandbytes: pip install'),
        ({"training": {"optimizer": "adamw-8bit"}}, '"adamw-8bit" needs bitsandbytes'),
    ):
        folder = make_run(**change)
        assert run_engine(folder) == 2
        state = folder.state()
        assert state is not None and expected in state.message
        assert not any(event.kind == "setup" for event in folder.events())


def test_pissa_needs_an_unquantised_base(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n')
    values = {
        "data": {"train": "t.jsonl"},
        "quantization": "nf4",
        "lora": {"init": "pissa"},
    }
    found = job_checks.check(jobs.check_job(values, tmp_path, "test"))
    assert any(item.key == "lora.init" and item.level == "error" for item in found)
