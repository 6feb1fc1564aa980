"""Recovery from problems in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tui_trainer.engine import loop, loss
from tui_trainer.engine.checkpoints import checkpoint
from tui_trainer.engine.records.background_writer import BackgroundWriter
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
RunEngine = Callable[..., int]
Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]
EXACT = {"dropout": 0.0}


def break_loss(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """The loss of these steps (counted from 1) is not a number."""
    original = loop.forward_backward

    def broken(session: Any, passes: Any) -> torch.Tensor:
        value = original(session, passes)
        return value * float("nan") if session.state.step + 1 in steps else value

    monkeypatch.setattr(loop, "forward_backward", broken)


def run_out_of_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Passes of more than `most` examples do not fit, and fail after half their work."""
    original = loss.weighted_sum

    def limited(model: Any, batch: Any, way: Any, **options: Any) -> Any:
        result = original(model, batch, way, **options)
        if len(batch.segments.lengths) > most:
            raise torch.OutOfMemoryError("injected")
        return result

    monkeypatch.setattr(loop, "weighted_sum", limited)


def test_a_step_that_is_not_finite_is_skipped_and_logged(
    make_run: MakeRun, run_engine: RunEngine, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_loss(monkeypatch, {3, 4, 6})
    folder = make_run(training={"checkpoint_every": 1, "eval_every": 0, "keep_checkpoints": 20})
    assert run_engine(folder) == 0
    rows = metrics(folder)
    skipped = [step for (kind, step), row in rows.items() if row.get("nonfinite") == ["loss"]]
    assert skipped == [3, 4, 6]
    assert rows["train", 3]["loss"] is None and rows["train", 5]["loss"] is not None
    warned = [e for e in folder.events() if e.detail.get("in_a_row")]
    assert [(e.step, e.detail["in_a_row"]) for e in warned] == [(3, 1), (4, 2), (6, 1)]
    saved = [step for step, _ in checkpoints.list_checkpoints(folder)]
    assert saved == [1, 2, 5, 7, 8, 9, 10, 11, 12], "none while the numbers are broken"


def test_three_such_steps_in_a_row_end_the_run(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_loss(monkeypatch, {5, 6, 7})
    folder = make_run(training={"checkpoint_every": 2, "eval_every": 0})
    assert run_engine(folder) == 1
    state = folder.state()
    assert state is not None and (state.state, state.step) == ("failed", 7)
    assert "the last good checkpoint is step-00000004" in state.message
    monkeypatch.undo()


def test_out_of_memory_halves_the_pass_and_keeps_the_step(
    make_run: MakeRun, run_engine: RunEngine, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {
        "training": {"max_steps": 5, "batch_size": 8, "eval_every": 0, "checkpoint_every": 0},
        "lora": EXACT,
    }
    whole, tight = make_run(**settings), make_run(**settings)
    assert run_engine(whole) == 0
    run_out_of_memory(monkeypatch, 2)
    assert run_engine(tight) == 0
    reported = [e for e in tight.events() if "out of memory" in e.message]
    assert [e.detail["micro_batch"] for e in reported] == [4, 2]
    assert "effective batch size stays the same" in reported[0].message
    for key, row in metrics(whole).items():
        other = metrics(tight)[key]
        if key[0] == "train":
            assert other["examples"] == row["examples"] and other["tokens"] == row["tokens"]
            assert other["loss"] == pytest.approx(row["loss"], abs=1e-5)
            assert other["gradient_norm"] == pytest.approx(row["gradient_norm"], rel=1e-4)


def test_out_of_memory_with_one_example_names_the_settings_to_change(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out_of_memory(monkeypatch, 0)
    folder = make_run()
    assert run_engine(folder) == 1
    state = folder.state()
    assert state is not None and state.message == (
        "out of memory with one example per pass: lower data.max_length, set "
        'training.gradient_checkpointing = true, set quantization = "nf4", or use a smaller base'
    )
    [error] = [event for event in folder.events() if event.kind == "error"]
    assert error.detail == {"out_of_memory": "training"}


def test_the_advice_names_no_setting_that_is_used_already(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out_of_memory(monkeypatch, 0)
    folder = make_run(training={"gradient_checkpointing": True})
    assert run_engine(folder) == 1
    state = folder.state()
    assert state is not None and "gradient_checkpointing" not in state.message


def test_out_of_memory_while_loading_is_reported_as_such(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("injected")

    monkeypatch.setattr("tui_trainer.models.base_model._load", fail)
    folder = make_run()
    assert run_engine(folder) == 1
    state = folder.state()
    assert state is not None and "out of memory while loading" in state.message
    [error] = [event for event in folder.events() if event.kind == "error"]
    assert error.detail == {"out_of_memory": "loading"}


def test_a_run_without_improvement_stops_early(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = {"early_stopping_patience": 2, "early_stopping_min_delta": 50.0, "eval_every": 2}
    folder = make_run(training=stopping)
    assert run_engine(folder) == 0
    state = folder.state()
    assert state is not None
    assert (state.state, state.step) == ("early_stopped", 6), "best at 2, missed at 4 and 6"
    assert checkpoints.list_checkpoints(folder)[-1][0] == 6
    assert (folder.adapter_dir / "adapter_model.safetensors").is_file()


def test_early_stopping_continues_counting_after_a_resume(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = {
        "early_stopping_patience": 3,
        "early_stopping_min_delta": 50.0,
        "eval_every": 2,
        "checkpoint_every": 1,
    }
    folder = make_run(training=stopping)
    original = loop.step

    def step_or_die(session: Any) -> Any:
        if session.state.step == 5:
            raise RuntimeError("injected")
        return original(session)

    monkeypatch.setattr(loop, "step", step_or_die)
    assert run_engine(folder) == 1
    monkeypatch.setattr(loop, "step", original)
    assert run_engine(folder) == 0
    state = folder.state()
    assert state is not None and (state.state, state.step) == ("early_stopped", 8)


def test_a_checkpoint_has_the_state_at_the_time_of_the_request(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when it is written later, after further training."""
    prompt = make_run(training={"checkpoint_every": 4, "eval_every": 0, "keep_checkpoints": 9})
    assert run_engine(prompt) == 0
    held: list[Any] = []
    original = checkpoint._write

    def late(*arguments: Any) -> None:
        held.append(arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_write", late)
        slow = make_run(training={"checkpoint_every": 4, "eval_every": 0, "keep_checkpoints": 9})
        assert run_engine(slow) == 0
    assert checkpoints.list_checkpoints(slow) == []
    for session, *rest in held:
        session.report.event = lambda *_, **__: None
        if not rest[1].exists():  # the last one was asked for twice
            original(session, *rest)
    names = [path.name for _, path in checkpoints.list_checkpoints(prompt)]
    assert names == [path.name for _, path in checkpoints.list_checkpoints(slow)]
    for name in names:
        for file in ("adapter_model.safetensors", "optimizer.safetensors", "random.safetensors"):
            pair = [f.checkpoints_dir / name / file for f in (prompt, slow)]
            assert pair[0].read_bytes() == pair[1].read_bytes(), f"{name}/{file}"


def test_an_exception_of_the_background_writer_is_raised() -> None:
    writer, done = BackgroundWriter(), []

    def fail() -> None:
        raise OSError(28, "No space left on device")

    writer.start(fail)
    with pytest.raises(OSError, match="No space"):
        writer.start(lambda: done.append(1))
    assert done == []
    writer.start(lambda: done.append(2))
    writer.wait()
    assert done == [2]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adam"},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        {"optimizer": "rmsprop", "momentum": 0.5},
        {"optimizer": "adafactor", "scheduler": "inverse-sqrt"},
    ],
    ids=lambda changes: changes["optimizer"],
)
def test_every_optimizer_learns_and_resumes_bit_for_bit(
    changes: dict[str, Any],
    make_run: MakeRun,
    run_engine: RunEngine,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = {"max_steps": 6, "eval_every": 0, "checkpoint_every": 2, **changes}
    whole, torn = make_run(training=training), make_run(training=training)
    assert run_engine(whole) == 0
    original = loop.step

    def step_or_die(session: Any) -> Any:
        if session.state.step == 3:
            raise RuntimeError("injected")
        return original(session)

    monkeypatch.setattr(loop, "step", step_or_die)
    assert run_engine(torn) == 1
    monkeypatch.setattr(loop, "step", original)
    assert run_engine(torn) == 0
    assert metrics(whole) == metrics(torn)
    weights = "adapter_model.safetensors"
    assert (whole.adapter_dir / weights).read_bytes() == (torn.adapter_dir / weights).read_bytes()
    rows = metrics(whole)
    assert rows["train", 6]["loss"] != rows["train", 1]["loss"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"nesterov": True}, "nesterov needs optimizer"),
        ({"momentum": 0.9}, "momentum is only for sgd and rmsprop"),
        ({"precision": "fp16"}, '"fp16" needs an NVIDIA GPU'),
    ],
)
def test_contradicting_settings_are_refused(
    changes: dict[str, Any], expected: str, make_run: MakeRun, run_engine: RunEngine
) -> None:
    folder = make_run(training=changes)
    assert run_engine(folder) == 2
    state = folder.state()
    assert state is not None and expected in state.message


@pytest.mark.parametrize(
    "lora",
    [
        {"rslora": True},
        {"dora": True},
        {"init": "pissa"},
        {"init": "pissa", "dora": True},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 3}},
        {"rank_pattern": {r"layers\.1\.mlp\.(up|down)_proj": 8, "v_proj": 1}, "rslora": True},
    ],
    ids="-".join,
)
def test_every_kind_of_adapter_gives_the_same_logits_in_peft(
    lora: dict[str, Any],
    make_run: MakeRun,
    run_engine: RunEngine,
    tiny_base: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plain PEFT gives the same logits with the saved adapter on the unchanged base."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    trained: list[Any] = []
    original = loop.train

    def keep(session: Any) -> Any:
        trained.append(session)
        return original(session)

    monkeypatch.setattr(loop, "train", keep)
    folder = make_run(lora=lora, training={"max_steps": 6})
    assert run_engine(folder) == 0
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    plain = PeftModel.from_pretrained(base, str(folder.adapter_dir)).eval()
    causal = trained[0].model.eval().get_base_model()
    causal.set_attn_implementation("sdpa")
    ids = torch.arange(40, 60).unsqueeze(0)
    with torch.no_grad():
        wanted = causal(ids).logits
        base_alone = AutoModelForCausalLM.from_pretrained(tiny_base)(ids).logits
        torch.testing.assert_close(plain(ids).logits, wanted, rtol=1e-4, atol=1e-5)
    assert (wanted - base_alone).abs().max() > 1e-3
