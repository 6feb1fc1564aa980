"""A look at a job's data before training: report, lengths, and rows as the model sees them.

The data are read exactly as a run reads them, by `load_dataset`. Where rows are longer than
`data.max_length`, they are tokenised a second time without the limit, for their full lengths.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import psutil

from tui_trainer.contracts.data_inspection import (
    DataInspection,
    DroppedRow,
    InspectedRow,
    InspectionRequest,
)
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.engine.data import data_notices, known_fields
from tui_trainer.engine.data.dataset import Dataset, load_dataset
from tui_trainer.engine.data.example import Example, Examples
from tui_trainer.engine.data.files.data_files import read_objects
from tui_trainer.engine.preflight.length_bins import length_bins
from tui_trainer.engine.preflight.text_pieces import text_pieces
from tui_trainer.models import base_model
from tui_trainer.store import jobs
from tui_trainer.store.data_sources import file_list, hub_dataset
from tui_trainer.text import formats

MOST_ROWS = 200  # that are shown
MOST_PIECE_TOKENS = 4_000  # of a row whose text is returned; the middle of a longer row is left out
MOST_DROPPED = 10  # rows without an answer that are named
_WITHOUT_LIMIT = 1 << 30  # tokens
_TRAINING = "training"
_PROGRESS_SECONDS = 0.5
_LEAST_SHARE = 0.02  # of the work, before the remaining time is estimated

Progress = Callable[[str], None]


def inspect_data(request: InspectionRequest, on_progress: Progress) -> DataInspection:
    """Read the data of a job and choose rows. Raises `UserError` as a run would."""
    job = request.job
    if request.find_task:
        job = msgspec.structs.replace(job, task=find_task(job))
    on_progress(f"loading the tokenizer of {job.model}")
    tokenizer = base_model.load_tokenizer(job.model, trust_remote_code=job.trust_remote_code)
    dataset = _load(job, tokenizer, on_progress, "reading the data")
    parts = _parts(dataset)
    full: dict[str, int] = {}  # tokens of each example, by its file and line
    for examples in parts.values():
        full.update(_lengths(examples))
    dropped: list[DroppedRow] = []
    if any(part.cut for part, _ in data_notices.parts_of(dataset.report)):
        dropped = _add_full_lengths(full, job, tokenizer, on_progress)
    lengths = np.array(
        [full[where] for where in dataset.train.once().locations()]
        + [row.tokens for row in dropped]
    )
    chosen = (
        _random_rows(dataset.train.once(), full, min(request.rows, MOST_ROWS), job.training.seed)
        if request.row is None
        else _asked_rows(parts, request.row, dataset, dropped)
    )
    return DataInspection(
        model=job.model,
        task=job.task,
        max_length=job.data.max_length,
        report=dataset.report,
        summary=data_notices.summary(dataset.report),
        notices=[*dataset.notices, *_about_augmentation(job)],
        lengths=length_bins(lengths, job.data.max_length),
        median=int(np.median(lengths)),
        longest=int(lengths.max()),
        too_long=int((lengths > job.data.max_length).sum()),
        unanswered=dropped[:MOST_DROPPED],
        rows=[
            _inspected(example, why, part, full, dataset.labels, tokenizer)
            for example, part, why in chosen
        ],
    )


def find_task(job: Job) -> str:
    """Return the task that the first row's fields are for: a text with a label is classified."""
    for file in file_list(job.data.train):
        for _, _, values in read_objects(file):
            if not isinstance(values, dict):
                return job.task
            labels = [values.get(name) for name in known_fields.LABELS]
            labelled = any(known_fields.has_content(label) for label in labels)
            return "classification" if values.get("text") and labelled else "causal-lm"
    return job.task


def _load(job: Job, tokenizer: Any, on_progress: Progress, what: str) -> Dataset:
    """Load the data, with progress in bytes while files are read, and in rows after that."""
    with _ReadingProgress(job, on_progress, what) as reading:
        started: dict[int, float] = {}

        def tokenised(done: int, total: int) -> None:
            reading.stop()
            begin = started.setdefault(total, time.monotonic())
            remaining = _remaining(time.monotonic() - begin, done / max(1, total))
            if reading.is_due():
                rows = formats.plural(total, "row")
                on_progress(f"tokenising: {formats.count(done)} of {rows}{remaining}")

        return load_dataset(job, tokenizer, None, tokenised)


class _ReadingProgress:
    """Reports how many bytes of the data files are read, from a thread, as reading has no callback:
    the bytes are those that the operating system counts for this process."""

    def __init__(self, job: Job, on_progress: Progress, what: str) -> None:
        self._on_progress, self._what = on_progress, what
        files = [file for file in jobs.data_files(job) if hub_dataset(file) is None]
        self._total = sum(file.stat().st_size for file in files)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._report, name="progress", daemon=True)
        self._last = time.monotonic()

    def __enter__(self) -> _ReadingProgress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the reports of this thread."""
        self._stopped.set()
        self._thread.join()

    def is_due(self) -> bool:
        """Return True at most once every `_PROGRESS_SECONDS`."""
        now = time.monotonic()
        if now - self._last < _PROGRESS_SECONDS:
            return False
        self._last = now
        return True

    def _report(self) -> None:
        started, before = time.monotonic(), _bytes_read()
        while not self._stopped.wait(_PROGRESS_SECONDS):
            elapsed, size = time.monotonic() - started, formats.size(self._total)
            if before is None or (now := _bytes_read()) is None:
                self._on_progress(f"{self._what}: {size}, {formats.duration(elapsed)}")
                continue
            done = now - before
            if done < self._total:
                remaining = _remaining(elapsed, done / max(1, self._total))
                read = formats.size_of(done, self._total)
                self._on_progress(f"{self._what}: {read}{remaining}")
            else:
                self._on_progress(
                    f"{self._what}: {size} read; looking for duplicates and tokenising, "
                    f"{formats.duration(elapsed)}"
                )


def _bytes_read() -> int | None:
    """Return the bytes this process has read from files; None where the system counts none."""
    if not sys.platform.startswith("linux"):
        return None
    return int(psutil.Process().io_counters().read_chars)


def _remaining(elapsed: float, share: float) -> str:
    if share < _LEAST_SHARE or share >= 1:
        return ""
    return f", about {formats.duration(elapsed * (1 - share) / share)} remaining"


def _lengths(examples: Examples) -> Iterator[tuple[str, int]]:
    """Yield file and line, and the tokens, of each example."""
    return zip(examples.locations(), examples.lengths.tolist(), strict=True)


def _parts(dataset: Dataset) -> dict[str, Examples]:
    return {
        _TRAINING: dataset.train,
        "validation": dataset.validation,
        "replay": dataset.replay,
        "retain": dataset.retain,
        "null space": dataset.null_space,
    }


def _add_full_lengths(
    full: dict[str, int], job: Job, tokenizer: Any, on_progress: Progress
) -> list[DroppedRow]:
    """Set the lengths without the limit, and return the training rows that it leaves out."""
    data = msgspec.structs.replace(job.data, max_length=_WITHOUT_LIMIT, cache=False)
    whole = msgspec.structs.replace(job, data=data)
    dataset = _load(whole, tokenizer, on_progress, "measuring the rows that are too long")
    dropped = [
        DroppedRow(where=where, tokens=tokens)
        for where, tokens in _lengths(dataset.train)
        if where not in full
    ]
    for examples in _parts(dataset).values():
        full.update(_lengths(examples))
    return dropped


def _random_rows(
    examples: Examples, full: dict[str, int], count: int, seed: int
) -> list[tuple[Example, str, str]]:
    """Return the first training example, the longest, and random ones, with the part and why each
    is shown."""
    chosen = {0: "first"}
    longest = int(np.argmax([full[where] for where in examples.locations()]))
    chosen.setdefault(longest, "longest")
    for at in np.random.default_rng(seed).permutation(len(examples))[: count + 2].tolist():
        chosen.setdefault(at, "random")
    return [(examples[at], _TRAINING, why) for at, why in list(chosen.items())[:count]]


def _asked_rows(
    parts: dict[str, Examples], number: int, dataset: Dataset, dropped: Sequence[DroppedRow]
) -> list[tuple[Example, str, str]]:
    """Return the examples from the lines or rows with this number. Raises `UserError` where there
    is none, with the reason where the report has it."""
    found = []
    for name, every in parts.items():
        examples = every.once()
        for at, where in enumerate(examples.locations()):
            if _number(where) == number:
                found.append((examples[at], name, "asked"))
    if found:
        return found
    suffixes = (f" line {number}", f" row {number}")
    for row in dropped:
        if row.where.endswith(suffixes):
            raise UserError(
                f"{row.where} has {formats.plural(row.tokens, 'token')} and keeps no answer within "
                "data.max_length, so it is left out; raise data.max_length"
            )
    for part, _ in data_notices.parts_of(dataset.report):
        for item in part.reasons():
            for where in item.where:
                if _located(where).endswith(suffixes):
                    raise UserError(f"{_located(where)} is left out: {item.reason}")
    raise UserError(
        f"no example comes from a row with the number {number}: it is beyond the end of the file, "
        "left out, or a duplicate; without --row, the reasons for left-out rows are shown"
    )


def _located(where: str) -> str:
    """Return `FILE line N` without the detail that may follow it."""
    return where.partition(": ")[0]


def _number(where: str) -> int | None:
    """Return the line or row in `where`; None for an example that a model has written."""
    last = where.rpartition(" ")[2]
    return int(last) if last.isdecimal() else None


def _inspected(
    example: Example,
    why: str,
    part: str,
    full: dict[str, int],
    labels: Sequence[str],
    tokenizer: Any,
) -> InspectedRow:
    ids = example.input_ids
    # Nothing predicts the first token.
    learned = [bool(flag) and at > 0 for at, flag in enumerate(example.learned)]
    omitted = max(0, len(ids) - MOST_PIECE_TOKENS)
    head = len(ids) if not omitted else MOST_PIECE_TOKENS * 3 // 4
    pieces = text_pieces(tokenizer, ids[:head], learned[:head])
    omitted_at = len(pieces)
    if omitted:
        pieces += text_pieces(tokenizer, ids[head + omitted :], learned[head + omitted :])
    return InspectedRow(
        where=example.where,
        chosen=why,
        part=part,
        tokens=len(ids),
        full_tokens=full.get(example.where, len(ids)),
        learned=sum(learned),
        weight=example.weight,
        label=None if example.label is None else labels[example.label],
        pieces=pieces,
        omitted=omitted,
        omitted_at=omitted_at if omitted else 0,
    )


def _about_augmentation(job: Job) -> list[str]:
    if job.data.augment == "none":
        return []
    return [
        f'rows that data.augment = "{job.data.augment}" adds are not shown: a run writes them '
        "when it starts"
    ]
