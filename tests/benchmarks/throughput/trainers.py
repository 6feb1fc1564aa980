"""The same steps by each trainer, with the clock read at every step's end.

Everything after the first step counts, so that no trainer's start is measured; the last
checkpoint and the export come after the last reading.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import time
from pathlib import Path
from typing import Any

import msgspec

Examples = list[tuple[list[int], list[int]]]
MAX_LENGTH = 512
LORA = {"rank": 16, "alpha": 32, "dropout": 0.0, "target_modules": ["q_proj", "v_proj"]}
RATE = 2e-4


@dataclasses.dataclass(frozen=True)
class Measured:
    """`device` is the GPU's name, or "cpu"; `cpu` and `wall` are seconds over all steps but the
    first, `tokens` those steps' tokens without padding, `losses` every step's."""

    trainer: str
    device: str
    cpu: float
    wall: float
    tokens: int
    losses: list[float]
    norms: list[float]


def device_name() -> str:
    """The GPU that all train on, or "cpu"."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


class Clock:
    """Readings of CPU and wall seconds."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def read(self) -> None:
        """One more reading, once a GPU has done what it was given."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.cpu.append(time.process_time())
        self.wall.append(time.perf_counter())


def ours(base: str, rows: Path, steps: int, batch: int, precision: str, work: Path) -> Measured:
    """The engine as it is, with its run folder, its reports and its control file."""
    import torch

    from tui_trainer.engine import loop, setup
    from tui_trainer.engine.records import step_records
    from tui_trainer.engine.records.run_reporter import RunReporter
    from tui_trainer.engine.state.command_source import CommandSource
    from tui_trainer.store import jobs
    from tui_trainer.store.runs import run_folder

    job = jobs.check_job(_job(base, rows, steps, batch, precision), work, "benchmark")
    folder = run_folder.create_run(work / "runs", job)
    setup.usable_threads = lambda: 1
    report = RunReporter(folder)
    info = folder.info()
    assert info is not None
    session = setup.prepare(folder, info, report, CommandSource(folder), None)
    clock, records = Clock(), []
    reported, done = report.train_steps, step_records.record_step

    def listen(rows: Any, *rest: Any) -> None:
        reported(rows, *rest)
        records.extend(rows)

    def finished(*what: Any) -> None:
        done(*what)
        clock.read()

    object.__setattr__(report, "train_steps", listen)
    object.__setattr__(step_records, "record_step", finished)
    assert torch.get_num_threads() == 1
    loop.train(session)
    report.close()
    return Measured(
        "tui-trainer",
        device_name(),
        clock.cpu[-1] - clock.cpu[0],
        clock.wall[-1] - clock.wall[0],
        sum(record.tokens for record in records[1:]),
        [record.loss for record in records],
        [record.gradient_norm for record in records],
    )


def peer(
    name: str, base: str, rows: Path, steps: int, batch: int, precision: str, work: Path
) -> Measured:
    """Hugging Face's `Trainer` with PEFT, or TRL's `SFTTrainer`, on the engine's own examples in
    the engine's own order; checkpointing of activations is off, everything else is theirs."""
    import torch
    from transformers import AutoModelForCausalLM, TrainerCallback

    from tui_trainer.engine.data.batching import BatchPlan
    from tui_trainer.engine.data.dataset import load_dataset
    from tui_trainer.models import lora_train
    from tui_trainer.models.base_model import load_tokenizer, resolve
    from tui_trainer.store import jobs

    torch.set_num_threads(1)
    job = jobs.check_job(_job(base, rows, steps, batch, precision), work, "benchmark")
    tokenizer = load_tokenizer(base)
    plan = BatchPlan(load_dataset(job, tokenizer).train, job.training)
    chosen = [plan.examples(step) for step in range(steps)]
    # As in the engine: bf16 weights under bf16 autocast.
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    torch.manual_seed(job.training.seed)
    model = AutoModelForCausalLM.from_pretrained(resolve(base), dtype=dtype)
    model = lora_train.attach(model, job.lora)
    data = [
        {
            "input_ids": e.input_ids,
            "labels": [t if k else -100 for t, k in zip(e.input_ids, e.learned, strict=True)],
        }
        for step in chosen
        for e in step
    ]
    clock = Clock()

    class Ends(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.read()

    trainer = _trainer(name, model, tokenizer, data, batch, steps, precision, work)
    trainer.add_callback(Ends())
    trainer.train()
    log = [row for row in trainer.state.log_history if "loss" in row]
    return Measured(
        name,
        device_name(),
        clock.cpu[-1] - clock.cpu[0],
        clock.wall[-1] - clock.wall[0],
        sum(len(e.input_ids) for step in chosen[1:] for e in step),
        [row["loss"] for row in log],
        [row["grad_norm"] for row in log],
    )


def _trainer(
    name: str,
    model: Any,
    tokenizer: Any,
    data: list[dict[str, list[int]]],
    batch: int,
    steps: int,
    precision: str,
    work: Path,
) -> Any:
    from torch.utils.data import SequentialSampler

    settings: dict[str, Any] = {
        "output_dir": str(work / "peer"),
        "per_device_train_batch_size": batch,
        "max_steps": steps,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": device_name() == "cpu",
        "bf16": precision == "bf16",
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "seed": 42,
    }
    if name == "trl":
        datasets: Any = importlib.import_module("datasets")
        trl: Any = importlib.import_module("trl")

        class Sequential(trl.SFTTrainer):  # type: ignore[misc]
            def _get_train_sampler(self, *_: Any) -> Any:
                return SequentialSampler(data)

        return Sequential(
            model=model,
            args=trl.SFTConfig(**settings, max_length=MAX_LENGTH),
            train_dataset=datasets.Dataset.from_list(data),
            processing_class=tokenizer,
        )
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(data)

    return InOrder(
        model=model,
        args=TrainingArguments(**settings),
        train_dataset=data,
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
    )


def _job(base: str, rows: Path, steps: int, batch: int, precision: str) -> dict[str, Any]:
    return {
        "name": "throughput",
        "model": base,
        "data": {"train": str(rows), "max_length": MAX_LENGTH},
        "lora": LORA,
        "training": {
            "max_steps": steps,
            "batch_size": batch,
            "learning_rate": RATE,
            "scheduler": "constant",
            "warmup_steps": 0,
            "eval_every": 0,
            "checkpoint_every": 0,
            "precision": precision,
        },
    }


def main(arguments: list[str]) -> None:
    """One measurement in this process: its JSON is the last line of standard output."""
    name, base, rows, steps, batch, precision, work = arguments
    os.environ["TUI_TRAINER_HOME"] = work
    call = (base, Path(rows), int(steps), int(batch), precision, Path(work))
    measured = ours(*call) if name == "tui-trainer" else peer(name, *call)
    print("\n" + msgspec.json.encode(dataclasses.asdict(measured)).decode(), flush=True)
