"""A complete run: its files and its final states."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder

Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]


def test_a_run_writes_the_documented_files(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], metrics: Metrics
) -> None:
    folder = make_run()
    assert run_engine(folder) == 0

    state = folder.state()
    assert state is not None
    assert (state.state, state.step, state.total_steps) == ("completed", 12, 12)
    rows = metrics(folder)
    assert [step for kind, step in rows if kind == "train"] == list(range(1, 13))
    assert [step for kind, step in rows if kind == "eval"] == [4, 8, 12]
    first = rows["train", 1]
    expected = "kind step epoch loss accuracy learning_rate gradient_norm phase was_predicted"
    assert list(first) == [*expected.split(), "prediction_error", "tokens", "examples"]
    assert rows["train", 12]["loss"] < first["loss"]
    assert 0 <= first["accuracy"] < rows["train", 12]["accuracy"] <= 1

    saved = [step for step, _ in checkpoints.list_checkpoints(folder)]
    assert saved[-3:] == [9, 12] or saved[-1] == 12
    assert all(
        checkpoints.problem(path) is None for _, path in checkpoints.list_checkpoints(folder)
    )
    best = min((row["val_loss"], step) for (kind, step), row in rows.items() if kind == "eval")
    assert (state.best_val_loss, state.best_step) == best
    assert (folder.checkpoints_dir / "best").resolve().name == checkpoints.checkpoint_name(best[1])
    assert {p.name for p in folder.adapter_dir.iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "README.md",
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    private = [folder.info_file, folder.metrics_file, folder.events_file, folder.state_file]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in private)


def test_plain_peft_loads_the_adapter_with_what_was_learned(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], tiny_base: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = make_run()
    assert run_engine(folder) == 0
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    model = PeftModel.from_pretrained(base, str(folder.adapter_dir))
    updates = [p for name, p in model.named_parameters() if "lora_B" in name]
    assert len(updates) == 14
    assert all(float(p.abs().sum()) > 0 for p in updates)


def test_accumulated_forward_passes_give_the_same_step(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], metrics: Metrics
) -> None:
    """The loss is averaged over labelled tokens, not over forward passes."""
    plain = {"max_steps": 4, "eval_every": 0, "checkpoint_every": 0}
    whole = make_run(training={**plain, "batch_size": 6}, lora={"dropout": 0.0})
    parts = make_run(
        training={**plain, "batch_size": 2, "gradient_accumulation_steps": 3},
        lora={"dropout": 0.0},
    )
    assert run_engine(whole) == run_engine(parts) == 0
    for step in range(1, 5):
        one, other = metrics(whole)["train", step], metrics(parts)["train", step]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-4)


def test_a_weight_counts_an_example_that_many_times(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], metrics: Metrics
) -> None:
    a = {"question": "what is up?", "answer": "the cat"}
    b = {"question": "what is down?", "answer": "the dog ran on the mat"}
    once = {"max_steps": 1, "eval_every": 0, "checkpoint_every": 0, "batch_size": 4}
    settings = {
        "data": {"val_split": None},
        "lora": {"dropout": 0.0},
        "training": once,
    }
    weighted = make_run([a, {**b, "weight": 3}], **settings)
    assert run_engine(weighted) == 0
    copied = make_run([a, b, b, b], **settings)
    assert run_engine(copied) == 0
    one, other = metrics(weighted)["train", 1], metrics(copied)["train", 1]
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
    assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-5)


def test_nonfinite_numbers_end_the_run_and_keep_the_last_good_checkpoint(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int]
) -> None:
    folder = make_run(
        training={"learning_rate": 1e30, "warmup_steps": 0, "checkpoint_every": 1, "eval_every": 0}
    )
    assert run_engine(folder) == 1
    state = folder.state()
    assert state is not None
    assert state.state == "failed"
    assert "not finite at step" in state.message
    assert "lower learning rate" in state.message
    last = json.loads(folder.metrics_file.read_text().splitlines()[-1])
    assert last["loss"] is None or last["gradient_norm"] is None
    assert last["nonfinite"]
    step, path = checkpoints.list_checkpoints(folder)[-1]
    assert step == last["step"] - 3, "three steps in a row were skipped"
    skipped = [e for e in folder.events() if e.detail.get("nonfinite")]
    assert [e.detail["in_a_row"] for e in skipped] == [1, 2, 3]
    assert checkpoints.problem(path) is None
    assert path.name in state.message


def test_a_second_engine_on_the_same_run_is_refused(
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tui_trainer.engine.__main__ import locked

    folder = make_run()
    with locked(folder):
        assert run_engine(folder) == 1
    assert "is being trained by another process" in capsys.readouterr().err


def test_a_completed_run_is_not_trained_again(
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_run(training={"max_steps": 2})
    assert run_engine(folder) == 0
    before = folder.metrics_file.read_bytes()
    assert run_engine(folder) == 2
    assert "is completed" in capsys.readouterr().err
    assert folder.metrics_file.read_bytes() == before


def test_val_loss_is_the_mean_over_labelled_tokens(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], metrics: Metrics
) -> None:
    """Whatever the batch size of the evaluation, the value is the same."""
    values = []
    for size in (1, 5):
        folder = make_run(training={"max_steps": 1, "batch_size": size, "learning_rate": 1e-12})
        assert run_engine(folder) == 0
        values.append(metrics(folder)["eval", 1]["val_loss"])
    assert values[0] == pytest.approx(values[1], abs=1e-5)
    assert math.isfinite(values[0])


def test_replayed_examples_join_every_step(
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    metrics: Metrics,
    write_rows: Callable[..., Path],
) -> None:
    replay = write_rows("kept.jsonl", [{"question": f"k{i}", "answer": "dog"} for i in range(9)])
    folder = make_run(data={"replay": str(replay), "replay_per_step": 4, "val_split": None})
    assert run_engine(folder) == 0
    counts = [row["examples"] for (kind, _), row in metrics(folder).items() if kind == "train"]
    assert counts[:7] == [3 + 4] * 6 + [2 + 4], "20 rows in threes: an epoch's last step has two"


def test_an_adapter_is_continued_where_it_ended(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], metrics: Metrics
) -> None:
    first = make_run(lora={"dropout": 0.0})
    assert run_engine(first) == 0
    last = metrics(first)["eval", 12]["val_loss"]
    slow = {"max_steps": 1, "learning_rate": 1e-12, "eval_every": 1}
    second = make_run(lora={"start_from": str(first.adapter_dir)}, training=slow)
    assert run_engine(second) == 0
    assert metrics(second)["eval", 1]["val_loss"] == pytest.approx(last, abs=1e-5)
    other = make_run(lora={"start_from": str(first.adapter_dir), "rank": 2}, training=slow)
    assert run_engine(other) == 2
    state = other.state()
    assert state is not None
    assert "has rank 4 and alpha 8; set lora.rank" in state.message


@pytest.mark.parametrize("size", [16, 4])
def test_the_training_accuracy_is_that_of_the_steps_own_predictions(
    size: int,
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the weights before the step, over all its forward passes."""
    from tui_trainer.engine import loop, loss
    from tui_trainer.engine.data import batching

    expected: list[float] = []
    original = loop.forward_backward

    def look(session: Any, passes: Any) -> Any:
        examples = [example for group in passes for example in group]
        batch = session.collate(examples)
        _, hits = loss.weighted_sum(session.model, batch, session.forward_mode, count_hits=True)
        expected.append(float(hits) / batching.learned_weight(examples))
        return original(session, passes)

    monkeypatch.setattr(loop, "forward_backward", look)
    folder = make_run(
        training={
            "max_steps": 4, "batch_size": size, "gradient_accumulation_steps": 16 // size,
            "warmup_steps": 0, "eval_every": 0, "learning_rate": 0.02,
        },
        lora={"dropout": 0.0},
    )  # fmt: skip
    assert run_engine(folder) == 0
    rows = metrics(folder)
    assert [rows["train", step]["accuracy"] for step in range(1, 5)] == pytest.approx(expected)
    assert expected[-1] > 0
