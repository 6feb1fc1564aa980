"""Checks of a job before anything is loaded: settings that cannot work or are unusual."""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tui_trainer.contracts.best_metric import metric_of
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.estimate import JobIssue
from tui_trainer.contracts.job import Job, Quantization, TrainingSettings
from tui_trainer.store import jobs
from tui_trainer.store.data_sources import (
    NEEDS_DATASETS,
    NEEDS_PYARROW,
    file_list,
    hub_dataset,
    source_weights,
)
from tui_trainer.store.regular_files import without_mark
from tui_trainer.text import formats

# The range of learning rates at which adapters learn.
LOW_RATE, HIGH_RATE = 1e-6, 2e-2
_OF_PYARROW = {".parquet": "Parquet", ".arrow": "Arrow", ".zst": "Zstandard"}
_COUNTED = (".jsonl", ".ndjson", ".csv", ".tsv")
_COUNTED_BYTES = 64 << 20  # size of the largest file that is read only to count its rows


def check(job: Job, *, count: bool = True) -> list[JobIssue]:
    """Issues of a resolved job, errors first. Without `count` the data is not read, and issues
    that depend on its size are not found."""
    train = job.data.train
    rows = count_rows(file_list(train), source_weights(train)) if count else None
    found = [*_errors(job), *_length(job, rows), *_rates(job), *_batches(job, rows)]
    found += [*_lora(job), *_augment(job, rows)]
    return sorted(found, key=lambda finding: finding.level != "error")


def count_rows(files: Sequence[Path], weights: Sequence[float] = ()) -> int | None:
    """Approximate number of rows of data files, each times its weight; None if counting them would
    take long."""
    total = 0.0
    for file, weight in zip(files, weights or [1.0] * len(files), strict=True):
        try:
            if file.suffix.lower() not in _COUNTED:
                return None
            if file.stat().st_size > _COUNTED_BYTES:
                return None
            rows = _count(file)
        except (OSError, csv.Error, UnicodeDecodeError):
            return None
        if rows is None:
            return None
        total += rows * weight
    return round(total)


def planned_steps(job: Job, rows: int | None) -> int | None:
    """Approximate optimizer steps of the run; None if they depend on an unknown number of rows."""
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
        text = 'training.nesterov needs optimizer = "sgd" and a training.momentum above 0'
        found.append(_error("training.nesterov", text))
    if settings.momentum and name not in ("sgd", "rmsprop"):
        text = f"training.momentum is only for sgd and rmsprop, not for {name}: delete it"
        found.append(_error("training.momentum", text))
    return found


def process_errors(job: Job) -> list[JobIssue]:
    """Settings of a job that one process must train alone."""
    found = []
    if job.data.retain is not None and job.task == "causal-lm":
        text = (
            "data.retain needs training.processes = 1, as the base's own predictions are compared "
            "in one process: set that, or delete data.retain"
        )
        found.append(_error("data.retain", text))
    if job.data.null_space is not None and job.task == "causal-lm":
        text = "data.null_space needs training.processes = 1: set that, or delete data.null_space"
        found.append(_error("data.null_space", text))
    if job.training.stop_when_learned and job.task == "causal-lm":
        text = (
            "training.stop_when_learned needs training.processes = 1, as learned answers are "
            "counted in one process: set that, or delete it"
        )
        found.append(_error("training.stop_when_learned", text))
    return found


def _count(file: Path) -> int | None:
    """Number of rows of a table or of JSON lines; None for other content."""
    if file.suffix.lower() in (".csv", ".tsv"):
        with file.open(newline="", encoding="utf-8-sig") as stream:
            return max(0, sum(1 for row in csv.reader(stream) if row) - 1)
    with file.open("rb") as lines:
        first = without_mark(next((line for line in lines if line.strip()), b""))
        try:
            msgspec.json.decode(first, type=dict[str, msgspec.Raw])
        except BAD_CONTENT:
            return None  # a list, an object on several lines, or compressed
        return 1 + sum(1 for line in lines if line.strip())


def _errors(job: Job) -> list[JobIssue]:
    settings, found = job.training, []
    validated = job.data.validation is not None or job.data.val_split is not None
    if settings.early_stopping_patience and not validated:
        found.append(
            _error(
                "training.early_stopping_patience",
                "training.early_stopping_patience needs validation data: set data.validation or "
                "data.val_split, or delete it",
            )
        )
    try:
        metric_of(job)
    except UserError as error:
        found.append(_error("training.best_metric", str(error)))
    else:
        if settings.best_metric is not None and not validated:
            text = (
                "training.best_metric has no effect without validation data: the last step is saved"
            )
            found.append(_warning("training.best_metric", text))
    for key in ("replay", "retain", "null_space"):
        if getattr(job.data, key) is not None and job.task == "classification":
            found.append(_error(f"data.{key}", f"data.{key} is only for causal-lm: delete it"))
    if job.data.null_space is not None and job.lora.init != "default":
        text = 'data.null_space needs lora.init = "default": set it, or delete data.null_space'
        found.append(_error("data.null_space", text))
    if settings.stop_when_learned and job.task == "classification":
        text = "training.stop_when_learned is only for causal-lm: delete it"
        found.append(_error("training.stop_when_learned", text))
    found += _samples(job)
    if settings.processes > 1:
        found += process_errors(job)
    if job.quantization != "none" and job.lora.init == "pissa":
        text = (
            'lora.init = "pissa" needs a base without quantization: use lora.init = "default" or '
            'quantization = "none"'
        )
        found.append(_error("lora.init", text))
    return [*found, *optimizer_errors(job.training), *_absent(job)]


def _samples(job: Job) -> list[JobIssue]:
    """Jobs whose sample prompts cannot be answered."""
    if not job.samples.prompts:
        return []
    found = []
    if job.task == "classification":
        text = "samples.prompts is only for causal-lm, as a classifier writes no text: delete it"
        found.append(_error("samples.prompts", text))
    if job.training.sharding != "none":
        text = (
            'samples.prompts needs training.sharding = "none", as one process answers: set it, or '
            "delete samples.prompts"
        )
        found.append(_error("samples.prompts", text))
    if not job.training.eval_every:
        text = "training.eval_every = 0: sample prompts are answered only at start and end"
        found.append(_warning("samples.prompts", text))
    return found


def _absent(job: Job) -> list[JobIssue]:
    """Missing packages that this job needs, beyond those of every training."""
    found = []
    files = jobs.data_files(job)
    table = next((f for f in files if f.suffix.lower() in _OF_PYARROW), None)
    if table is not None and not _installed("pyarrow"):
        text = f"{table.name}: reading {_OF_PYARROW[table.suffix.lower()]} {NEEDS_PYARROW}"
        found.append(_error("data.train", text))
    dataset = next((f for f in files if hub_dataset(f) is not None), None)
    if dataset is not None and not _installed("datasets"):
        found.append(_error("data.train", f"{dataset}: a data set of the hub {NEEDS_DATASETS}"))
    if job.training.optimizer == "adamw-8bit" and not _installed("bitsandbytes"):
        text = (
            'training.optimizer = "adamw-8bit" needs bitsandbytes: pip install bitsandbytes, or '
            'use "adamw"'
        )
        found.append(_error("training.optimizer", text))
    problem = quantization_problem("quantization", job.quantization)
    if problem is not None:
        found.append(_error("quantization", problem))
    return found


def quantization_problem(key: str, value: Quantization) -> str | None:
    """Why a base cannot be quantised as the setting `key` asks, in one sentence, or None."""
    if value == "none" or _installed("bitsandbytes"):
        return None
    return f'{key} = "{value}" needs bitsandbytes: pip install bitsandbytes, or use "none"'


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _length(job: Job, rows: int | None) -> list[JobIssue]:
    settings, found = job.training, []
    steps = planned_steps(job, rows)
    if steps is None:
        return []
    run = f"{formats.plural(steps, 'step')} of the run"
    if settings.warmup_steps >= steps:
        found.append(
            _warning(
                "training.warmup_steps",
                f"training.warmup_steps = {formats.count(settings.warmup_steps)} is not less than "
                f"the {run}, so that the rate only rises; "
                f"{formats.count(max(1, steps // 20))} is usual",
            )
        )
    validated = job.data.validation is not None or job.data.val_split is not None
    if validated and settings.eval_every > steps:
        text = f"{formats.count(settings.eval_every)} is more than the {run}"
        found.append(
            _warning(
                "training.eval_every",
                f"training.eval_every = {text}: the only evaluation is at the end",
            )
        )
        if settings.early_stopping_patience:
            text = "training.early_stopping_patience has no effect: the run has one evaluation"
            found.append(_warning("training.early_stopping_patience", text))
    if settings.checkpoint_every > steps and steps > 1000:
        text = f"{formats.count(settings.checkpoint_every)} is more than the {run}"
        found.append(
            _warning(
                "training.checkpoint_every",
                f"training.checkpoint_every = {text}: a crash loses the whole run",
            )
        )
    return found


def _rates(job: Job) -> list[JobIssue]:
    rate = job.training.learning_rate
    if LOW_RATE <= rate <= HIGH_RATE or job.training.optimizer == "sgd":
        return []
    level, usual = ("high", "2e-4 to 3e-3") if rate > HIGH_RATE else ("low", "1e-4 to 2e-4")
    return [
        _warning(
            "training.learning_rate",
            f"training.learning_rate = {formats.rate(rate)} is very {level} for an adapter; "
            f"{usual} is usual",
        )
    ]


def _batches(job: Job, rows: int | None) -> list[JobIssue]:
    settings = job.training
    per_step = settings.batch_size * settings.gradient_accumulation_steps
    found = []
    if settings.processes > per_step + job.data.replay_per_step:
        text = (
            f"training.processes = {settings.processes} is more than the "
            f"{formats.plural(per_step, 'example')} of a step, so that some processes are idle; "
            "reduce it, or increase training.batch_size"
        )
        found.append(_warning("training.processes", text))
    if settings.sharding != "none" and settings.processes == 1:
        text = (
            'training.sharding = "fsdp" has no effect with one process: set training.processes, '
            "or start with torchrun"
        )
        found.append(_warning("training.sharding", text))
    if rows is not None and per_step > rows:
        text = (
            f"a step has {formats.plural(per_step, 'example')} and the data "
            f"{formats.plural(rows, 'row')}: every step is a whole pass over the data; a smaller "
            "training.batch_size gives more steps"
        )
        found.append(_warning("training.batch_size", text))
    return found


def _lora(job: Job) -> list[JobIssue]:
    found = []
    if job.lora.alpha / job.lora.rank > 8:
        scale = formats.short_number(job.lora.alpha / job.lora.rank)
        found.append(
            _warning("lora.alpha", f"lora.alpha / lora.rank = {scale} is large; 1 to 2 is usual")
        )
    if job.data.replay_per_step and job.data.replay is None:
        text = "data.replay_per_step has no effect without data.replay"
        found.append(_warning("data.replay_per_step", text))
    if job.data.retain_per_step and job.data.retain is None:
        text = "data.retain_per_step has no effect without data.retain"
        found.append(_warning("data.retain_per_step", text))
    return found


def _augment(job: Job, rows: int | None) -> list[JobIssue]:
    data = job.data
    if data.augment == "none":
        return []
    if data.augment_model is None and job.task == "classification":
        text = (
            f'data.augment = "{data.augment}" needs data.augment_model, since the base of a '
            "classifier may not be able to write text"
        )
        return [_error("data.augment_model", text)]
    if (data.augment_model or job.model) == "builtin":
        text = (
            f'data.augment = "{data.augment}" needs a model that can rewrite text, which the '
            "built-in base cannot: set data.augment_model to a larger one"
        )
        return [_error("data.augment_model", text)]
    count = "every training row" if rows is None else formats.plural(rows, "training row")
    return [
        _warning(
            "data.augment",
            f'data.augment = "{data.augment}" makes {data.augment_model or job.model} rewrite '
            f"{count} before training, which may take longer than the training; check the result "
            "in augmented.json of the run folder, as its meaning may have changed",
        )
    ]


def _error(key: str, message: str) -> JobIssue:
    return JobIssue(level="error", key=key, message=message)


def _warning(key: str, message: str) -> JobIssue:
    return JobIssue(level="warning", key=key, message=message)
