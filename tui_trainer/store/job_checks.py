"""Looking a job over before anything loads: what cannot work, and what is hardly meant."""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

from tui_trainer.contracts.estimate import JobIssue
from tui_trainer.contracts.job import Job, TrainingSettings
from tui_trainer.store import jobs

# Rates that adapters learn at lie between these.
LOW_RATE, HIGH_RATE = 1e-6, 2e-2
_COUNTED_BYTES = 64 << 20  # larger files are not read only to count their rows


def check(job: Job, *, count: bool = True) -> list[JobIssue]:
    """Everything odd about a resolved job, errors first; without `count` the data is not read, and
    what depends on its size not said."""
    rows = count_rows(jobs.file_list(job.data.train)) if count else None
    found = [*_errors(job), *_length(job, rows), *_rates(job), *_batches(job, rows)]
    found += [*_lora(job), *_augment(job, rows)]
    return sorted(found, key=lambda finding: finding.level != "error")


def count_rows(files: Sequence[Path]) -> int | None:
    """Rows of data files, about; None where counting them would take long."""
    total = 0
    for file in files:
        try:
            if file.suffix.lower() not in (".jsonl", ".ndjson", ".csv"):
                return None
            if file.stat().st_size > _COUNTED_BYTES:
                return None
            total += _count(file)
        except (OSError, csv.Error, UnicodeDecodeError):
            return None
    return total


def planned_steps(job: Job, rows: int | None) -> int | None:
    """Optimizer steps of the run, about; None where they depend on rows that are not known."""
    settings = job.training
    if settings.max_steps is not None:
        return settings.max_steps
    if rows is None:
        return None
    trained = rows - round(rows * (job.data.val_split or 0.0))
    per_step = settings.batch_size * settings.gradient_accumulation_steps
    return max(1, math.ceil((settings.epochs or 1.0) * math.ceil(trained / per_step)))


def optimizer_errors(settings: TrainingSettings) -> list[JobIssue]:
    """Settings of the optimizer that exclude each other."""
    name, found = settings.optimizer, []
    if settings.nesterov and (name != "sgd" or settings.momentum == 0):
        words = 'training.nesterov needs optimizer = "sgd" and a training.momentum above 0'
        found.append(_error("training.nesterov", words))
    if settings.momentum and name not in ("sgd", "rmsprop"):
        words = f"training.momentum is of sgd and rmsprop; {name} has none: leave it out"
        found.append(_error("training.momentum", words))
    return found


def _count(file: Path) -> int:
    if file.suffix.lower() == ".csv":
        with file.open(newline="", encoding="utf-8-sig") as stream:
            return max(0, sum(1 for row in csv.reader(stream) if row) - 1)
    with file.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def _errors(job: Job) -> list[JobIssue]:
    settings, found = job.training, []
    validated = job.data.validation is not None or job.data.val_split is not None
    if settings.early_stopping_patience and not validated:
        found.append(
            _error(
                "training.early_stopping_patience",
                "training.early_stopping_patience needs validation data: set data.validation or "
                "data.val_split, or leave it out",
            )
        )
    if settings.early_stopping_metric == "val_f1_macro" and job.task != "classification":
        found.append(
            _error(
                "training.early_stopping_metric",
                'training.early_stopping_metric = "val_f1_macro" is of classification jobs; use '
                '"val_loss" or "val_accuracy"',
            )
        )
    for key in ("replay", "retain"):
        if getattr(job.data, key) is not None and job.task == "classification":
            found.append(_error(f"data.{key}", f"data.{key} is of causal-lm jobs: leave it out"))
    if settings.stop_when_learned and (job.task == "classification" or settings.processes != 1):
        words = (
            "training.stop_when_learned works in causal-lm jobs with training.processes = 1: "
            "leave it out"
        )
        found.append(_error("training.stop_when_learned", words))
    if job.quantization != "none" and job.lora.init == "pissa":
        words = (
            'lora.init = "pissa" takes its first values out of a whole base, not of a quantised '
            'one: use lora.init = "default", or leave quantization out'
        )
        found.append(_error("lora.init", words))
    return [*found, *optimizer_errors(job.training), *_absent(job)]


def _absent(job: Job) -> list[JobIssue]:
    """Packages that the job needs beyond what every training needs."""
    found = []
    table = next((f for f in jobs.data_files(job) if f.suffix.lower() == ".parquet"), None)
    if table is not None and not _installed("pyarrow"):
        words = f'{table.name}: reading Parquet needs pyarrow: pip install "tui-trainer[parquet]"'
        found.append(_error("data.train", words))
    if job.training.optimizer == "adamw-8bit" and not _installed("bitsandbytes"):
        words = (
            'training.optimizer = "adamw-8bit" needs bitsandbytes: pip install bitsandbytes, or '
            'use "adamw"'
        )
        found.append(_error("training.optimizer", words))
    if job.quantization != "none" and not _installed("bitsandbytes"):
        words = (
            f'quantization = "{job.quantization}" needs bitsandbytes: pip install bitsandbytes, or '
            "leave it out"
        )
        found.append(_error("quantization", words))
    return found


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _length(job: Job, rows: int | None) -> list[JobIssue]:
    settings, found = job.training, []
    steps = planned_steps(job, rows)
    if steps is None:
        return []
    if settings.warmup_steps >= steps:
        found.append(
            _warning(
                "training.warmup_steps",
                f"training.warmup_steps = {settings.warmup_steps:,} is no shorter than the run of "
                f"{steps:,} steps: the rate never gets past its rise; {max(1, steps // 20):,} "
                "would be usual",
            )
        )
    validated = job.data.validation is not None or job.data.val_split is not None
    if validated and settings.eval_every > steps:
        words = f"{settings.eval_every:,} is longer than the run of {steps:,} steps"
        found.append(
            _warning("training.eval_every", f"training.eval_every = {words}: only its end counts")
        )
        if settings.early_stopping_patience:
            words = "training.early_stopping_patience never acts: the run has one evaluation"
            found.append(_warning("training.early_stopping_patience", words))
    if settings.checkpoint_every > steps and steps > 1000:
        words = f"{settings.checkpoint_every:,} is longer than the run of {steps:,} steps"
        found.append(
            _warning(
                "training.checkpoint_every",
                f"training.checkpoint_every = {words}: a crash loses all of it",
            )
        )
    return found


def _rates(job: Job) -> list[JobIssue]:
    rate = job.training.learning_rate
    if LOW_RATE <= rate <= HIGH_RATE or job.training.optimizer == "sgd":
        return []
    word, usual = ("high", "2e-4 to 3e-3") if rate > HIGH_RATE else ("low", "1e-4 to 2e-4")
    return [
        _warning(
            "training.learning_rate",
            f"training.learning_rate = {rate:g} is very {word} for an adapter; {usual} is usual",
        )
    ]


def _batches(job: Job, rows: int | None) -> list[JobIssue]:
    settings = job.training
    per_step = settings.batch_size * settings.gradient_accumulation_steps
    found = []
    if settings.processes > per_step + job.data.replay_per_step:
        words = (
            f"training.processes = {settings.processes} share the {per_step:,} examples of a step: "
            "some have nothing to do; use fewer, or a larger training.batch_size"
        )
        found.append(_warning("training.processes", words))
    if settings.sharding != "none" and settings.processes == 1:
        words = (
            'training.sharding = "fsdp" shares the base among processes and has no effect in one: '
            "set training.processes, or start with torchrun"
        )
        found.append(_warning("training.sharding", words))
    if rows is not None and per_step > rows:
        words = (
            f"a step takes {per_step:,} examples and there are {rows:,}: every step is a whole "
            "pass over the data; a smaller training.batch_size gives more steps"
        )
        found.append(_warning("training.batch_size", words))
    return found


def _lora(job: Job) -> list[JobIssue]:
    found = []
    if job.lora.alpha / job.lora.rank > 8:
        scale = job.lora.alpha / job.lora.rank
        found.append(
            _warning("lora.alpha", f"lora.alpha / lora.rank = {scale:g} is large; 1 to 2 is usual")
        )
    if job.data.replay_per_step and job.data.replay is None:
        words = "data.replay_per_step has no effect without data.replay"
        found.append(_warning("data.replay_per_step", words))
    if job.data.retain_per_step and job.data.retain is None:
        words = "data.retain_per_step has no effect without data.retain"
        found.append(_warning("data.retain_per_step", words))
    return found


def _augment(job: Job, rows: int | None) -> list[JobIssue]:
    data = job.data
    if data.augment == "none":
        return []
    if data.augment_model is None and job.task == "classification":
        words = (
            f'data.augment = "{data.augment}" needs data.augment_model: the base of a classifier '
            "cannot be counted on to write"
        )
        return [_error("data.augment_model", words)]
    if (data.augment_model or job.model) == "builtin":
        words = (
            f'data.augment = "{data.augment}" needs a model that can put text into other words, '
            "which the built-in base cannot: set data.augment_model to a larger one"
        )
        return [_error("data.augment_model", words)]
    count = "every training row" if rows is None else f"{rows:,} training rows"
    return [
        _warning(
            "data.augment",
            f'data.augment = "{data.augment}" has {data.augment_model or job.model} write {count} '
            "anew before training, which may take longer than the training; nobody checks what "
            "they then mean: read augmented.json in the run folder",
        )
    ]


def _error(key: str, message: str) -> JobIssue:
    return JobIssue(level="error", key=key, message=message)


def _warning(key: str, message: str) -> JobIssue:
    return JobIssue(level="warning", key=key, message=message)
