"""A job's examples: read, divided, tokenised; and their order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from tui_trainer.contracts.data import DataReport, LabelReport, PartReport
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.engine.data import class_balance, data_notices, split
from tui_trainer.engine.data.augment import Augmenter
from tui_trainer.engine.data.encoding import encode, encode_labelled
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.data.row_formats import ReadRows, read_rows
from tui_trainer.engine.data.token_cache import TokenCache
from tui_trainer.engine.data.tokenizer_pool import Between, TokenizerPool, own_share
from tui_trainer.store import jobs


@dataclass(frozen=True)
class Dataset:
    """The examples of each part, a sentence for everything that was changed, all counts, and
    for a classification the classes' names in their order. `from_cache`: nothing large had to
    be tokenised."""

    train: list[Example]
    validation: list[Example]
    replay: list[Example]
    retain: list[Example]
    notices: list[str]
    report: DataReport
    labels: list[str] = field(default_factory=list)
    from_cache: bool = field(default=False, compare=False)


def load_dataset(
    job: Job,
    tokenizer: Any,
    augmenter: Augmenter | None = None,
    between: Between | None = None,
) -> Dataset:
    """Reads, divides and tokenises a job's data; `augmenter` adds rows to the training part,
    `between` is told how far the tokens are, and may raise. Raises `UserError`."""
    labelled = job.task == "classification"
    train, validation, replay, retain = (
        read_rows(jobs.file_list(files), labelled=labelled) if files else ReadRows([])
        for files in (job.data.train, job.data.validation, job.data.replay, job.data.retain)
    )
    parts = split.divide(train, validation, job.data, job.training.seed)
    augmented = None
    if augmenter is not None:
        added, augmented = augmenter(parts.train.found, parts.validation.found)
        parts.train.found.extend(added)
    cache = TokenCache(tokenizer) if job.data.cache else None
    prepare = _classify if labelled else _generate
    with TokenizerPool(tokenizer, own_share(job.data.workers), between) as crew:
        found = prepare(job, parts, tokenizer, cache, crew)
        examples, replay_report = encode(replay, tokenizer, job.data.max_length, cache, crew)
        kept, retain_report = encode(retain, tokenizer, job.data.max_length, cache, crew)
    kept = [replace(example, retained=True) for example in kept]
    if not found.train:
        raise UserError(
            f"no training example keeps an answer within data.max_length = {job.data.max_length} "
            "tokens; raise it"
        )
    report = DataReport(
        train=found.reports[0],
        validation=found.reports[1],
        replay=replay_report,
        retain=retain_report,
        repeats=parts.repeats,
        labels=found.labels,
        fingerprint=fingerprint(found.train, found.validation, examples, *([kept] if kept else [])),
        augmented=augmented,
    )
    notices = data_notices.notices(report, job)
    return Dataset(
        found.train,
        found.validation,
        examples,
        kept,
        [*notices, cache.problem] if cache and cache.problem else notices,
        report,
        [label.label for label in found.labels],
        from_cache=cache is not None and cache.found > 0,
    )


@dataclass(frozen=True)
class _Found:
    train: list[Example]
    validation: list[Example]
    reports: tuple[PartReport, PartReport]
    labels: list[LabelReport] = field(default_factory=list)


def _generate(
    job: Job, parts: split.Parts, tokenizer: Any, cache: TokenCache | None, crew: TokenizerPool
) -> _Found:
    train, train_report = encode(parts.train, tokenizer, job.data.max_length, cache, crew)
    validation, report = encode(parts.validation, tokenizer, job.data.max_length, cache, crew)
    return _Found(train, validation, (train_report, report))


def _classify(
    job: Job, parts: split.Parts, tokenizer: Any, cache: TokenCache | None, crew: TokenizerPool
) -> _Found:
    names = class_balance.find_classes(parts.train.found)
    index = {name: place for place, name in enumerate(names)}
    length = job.data.max_length
    train, train_report = encode_labelled(parts.train, tokenizer, length, index, cache, crew)
    validation, report = encode_labelled(parts.validation, tokenizer, length, index, cache, crew)
    balanced, labels = class_balance.balanced(
        train, validation, names, job.data.balance, job.training.seed
    )
    train_report = msgspec.structs.replace(train_report, examples=len(balanced))
    return _Found(balanced, validation, (train_report, report), labels)


def fingerprint(*parts: Sequence[Example]) -> str:
    """SHA-256 over every example of every part, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        for e in part:
            digest.update(np.array([len(e.input_ids), *e.input_ids, *e.learned]).tobytes())
            digest.update(f"{e.weight!r} {e.label}".encode())
    return digest.hexdigest()


def epoch_order(examples: int, seed: int, epoch: int) -> list[int]:
    """The order of an epoch's examples: another each epoch, the same for the same seed."""
    order: list[int] = np.random.default_rng([seed, epoch]).permutation(examples).tolist()
    return order


def replay_choice(examples: int, seed: int, step: int, count: int) -> list[int]:
    """Which replayed examples join a step: drawn anew for each, the same for the same seed."""
    generator = np.random.default_rng([seed, step, 1])  # the 1 sets it apart from epoch_order
    drawn: list[int] = generator.choice(examples, min(count, examples), replace=False).tolist()
    return drawn
