"""A real Hugging Face `Trainer` on a tiny model, watched and steered by its run folder."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from tui_trainer.contracts.runs.run import CommandName, Event
from tui_trainer.integrations.rank_sync import RankCommands, RankSync
from tui_trainer.integrations.scheduler_rate import set_rate
from tui_trainer.integrations.transformers import TuiTrainerCallback
from tui_trainer.store.runs import run_control
from tui_trainer.store.runs.run_folder import RunFolder


class Counting(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Sixteen short rows; each takes the loop `seconds` to fetch."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        time.sleep(self.seconds)
        ids = (torch.arange(8) * (index % 5 + 1)) % 32
        return {"input_ids": ids, "labels": ids}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_trainer(
    folder: Path, steps: int, seconds: float = 0.0, **arguments: Any
) -> tuple[Trainer, TuiTrainerCallback]:
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=32,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    callback = TuiTrainerCallback(folder / "runs", hardware=False)
    settings = TrainingArguments(
        str(folder / "out"),
        max_steps=steps,
        per_device_train_batch_size=2,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        run_name="my tiny/model",
        **{"logging_steps": 1, "save_strategy": "no", **arguments},
    )
    data = Counting(seconds)
    trainer = Trainer(
        LlamaForCausalLM(shape),
        settings,
        train_dataset=data,
        eval_dataset=Counting(0.0),
        callbacks=[callback],
    )
    return trainer, callback


def rows_of(folder: RunFolder, kind: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in folder.metrics_file.read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def only_run(folder: Path) -> RunFolder:
    (path,) = (folder / "runs").iterdir()
    return RunFolder(path)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def ask(folder: RunFolder, command: CommandName, **arguments: Any) -> Event:
    event = run_control.wait(folder, run_control.send(folder, command, arguments), 30)
    assert event is not None, f"{command} was never answered"
    return event


def test_a_run_is_recorded_to_its_end(tmp_path: Path) -> None:
    trainer, callback = make_trainer(
        tmp_path, 6, eval_strategy="steps", eval_steps=3, save_strategy="steps", save_steps=4
    )
    trainer.train()
    folder = only_run(tmp_path)
    logged = {row["step"]: row for row in trainer.state.log_history if "loss" in row}
    train = rows_of(folder, "train")
    assert [row["step"] for row in train] == [1, 2, 3, 4, 5, 6]
    assert all(row["loss"] == logged[row["step"]]["loss"] for row in train)
    assert all(row["learning_rate"] == logged[row["step"]]["learning_rate"] for row in train)
    assert all(row["gradient_norm"] > 0 for row in train)
    evals = rows_of(folder, "eval")
    assert [row["step"] for row in evals] == [3, 6]
    assert not any("runtime" in name for row in evals for name in row)
    saved = [event.detail["path"] for event in folder.events() if event.kind == "checkpoint"]
    assert [Path(path).name for path in saved] == ["checkpoint-4", "checkpoint-6"]
    assert all(Path(path).is_dir() for path in saved)
    state, info = folder.state(), folder.loop_info()
    assert state is not None
    assert info is not None
    assert (state.state, state.step, state.total_steps) == ("completed", 6, 6)
    assert state.best_val_loss == min(row["val_loss"] for row in evals)
    assert (info.name, info.program) == ("my-tiny-model", "transformers")
    assert info.config["arguments"]["max_steps"] == 6
    assert info.config["model"]["type"] == "llama"
    assert callback.run is not None
    assert not callback.run.active


def test_commands_control_a_trainer(tmp_path: Path) -> None:
    """Pause, checkpoint while paused, a new rate, resume, stop: as the dashboard sends them."""
    trainer, _ = make_trainer(tmp_path, 5000, seconds=0.005, logging_steps=1000)
    thread = threading.Thread(target=trainer.train, daemon=True)
    thread.start()
    until(lambda: any((tmp_path / "runs").glob("*/events.jsonl")))
    folder = only_run(tmp_path)
    until(lambda: folder.status() == "training")

    paused = ask(folder, "pause")
    assert folder.status() == "paused"
    # The step at which it waits is seen, though the Trainer would log it much later.
    until(
        lambda: len(folder.metrics_file.read_bytes() if folder.metrics_file.exists() else b"") > 0
    )
    assert rows_of(folder, "train")[-1]["step"] == paused.step
    saved = ask(folder, "checkpoint")
    assert saved.message == f"checkpoint checkpoint-{paused.step} saved"
    assert (tmp_path / "out" / f"checkpoint-{paused.step}" / "trainer_state.json").is_file()
    assert ask(folder, "set-lr", learning_rate=1e-5).detail["accepted"]
    time.sleep(0.1)
    assert trainer.state.global_step == paused.step
    assert trainer.optimizer is not None
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)

    assert ask(folder, "resume").detail["accepted"]
    until(lambda: trainer.state.global_step > paused.step + 2)
    assert 0 < trainer.optimizer.param_groups[0]["lr"] < 1e-5
    stopped = ask(folder, "stop")
    thread.join(30)
    assert not thread.is_alive()
    assert (tmp_path / "out" / f"checkpoint-{stopped.step}" / "model.safetensors").is_file()
    state = folder.state()
    assert state is not None
    assert state.state == "cancelled"
    assert state.message == f"stopped at step {stopped.step:,} and saved"


def test_a_cancel_saves_nothing(tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, 5000, seconds=0.005)
    thread = threading.Thread(target=trainer.train, daemon=True)
    thread.start()
    until(lambda: any((tmp_path / "runs").glob("*/metrics.jsonl")))
    folder = only_run(tmp_path)
    event = ask(folder, "cancel")
    thread.join(30)
    assert folder.status() == "cancelled"
    assert not list((tmp_path / "out").glob("checkpoint-*"))
    assert trainer.state.global_step == event.step


def rates_of(schedule: str, change_at: int | None) -> list[float]:
    """The rates of ten steps, doubled after `change_at` of them."""
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups: list[dict[str, Any]] = [
        {"params": [parameters[0]]},
        {"params": [parameters[1]], "lr": 0.01},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    kinds: Any = torch.optim.lr_scheduler
    makers: dict[str, Callable[[], Any]] = {
        "none": lambda: None,
        "lambda": lambda: kinds.LambdaLR(optimizer, lambda step: 1 - step / 20),
        "cosine": lambda: kinds.CosineAnnealingLR(optimizer, 20),
        "onecycle": lambda: kinds.OneCycleLR(optimizer, [0.1, 0.01], total_steps=20),
        "chained": lambda: kinds.SequentialLR(
            optimizer,
            [kinds.ConstantLR(optimizer, 1.0), kinds.LinearLR(optimizer, 1.0, 0.1, 10)],
            [3],
        ),
    }
    made = makers[schedule]()
    found = []
    for step in range(10):
        if step == change_at:
            set_rate(optimizer, made, 2 * optimizer.param_groups[0]["lr"])
        found += [float(group["lr"]) for group in optimizer.param_groups]
        optimizer.step()
        if made is not None:
            made.step()
    return found


@pytest.mark.parametrize("schedule", ["none", "lambda", "cosine", "onecycle", "chained"])
def test_a_new_rate_keeps_the_schedules_shape_in_every_group(schedule: str) -> None:
    before, after = rates_of(schedule, None), rates_of(schedule, 5)
    assert after[:10] == before[:10]
    assert after[10:] == pytest.approx([2 * rate for rate in before[10:]])


def test_before_a_warmup_the_peak_is_set() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 4))
    set_rate(optimizer, scheduler, 0.5)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no parameter groups"):
        set_rate(None, None, 0.5)


def follow(rank: int, store: str, results: Any) -> None:
    """One of two processes to which commands are broadcast."""
    import torch.distributed as distributed

    distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    sync, received = RankSync(), []
    for step in range(1, 40):
        if sync.due(step):
            own = RankCommands((("set-lr", step / 10),), step > 1) if rank == 0 else RankCommands()
            commands = sync.broadcast(step, own, active=True)
            received.append((step, commands.commands, commands.paused))
        time.sleep(0.02)
    results.put((rank, received))
    results.close()
    results.join_thread()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_all_processes_receive_the_same_commands_at_the_same_steps(tmp_path: Path) -> None:
    import torch.multiprocessing as processes

    spawn = processes.get_context("spawn")
    results = spawn.Queue()
    both = [spawn.Process(target=follow, args=(r, str(tmp_path / "s"), results)) for r in (0, 1)]
    for process in both:
        process.start()
    received = dict(results.get(timeout=120) for _ in both)
    for process in both:
        process.join(60)
    assert received[0] == received[1]
    assert received[0][0] == (1, (("set-lr", 0.1),), False)
    assert len(received[0]) < 39  # not at every step: a broadcast takes time
    assert all(math.isfinite(step) for step, _, _ in received[1])
