"""A job's data, from files to examples; `load_dataset` has the steps in their order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import repeat
from typing import Any

import msgspec
import numpy as np

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job, Learn
from tui_trainer.contracts.runs.data_report import (
    MOST_COLUMNS,
    MOST_LOCATIONS,
    DataReport,
    LabelReport,
    LeftOutRows,
    PartReport,
    UnusedField,
)
from tui_trainer.engine.data import class_balance, data_notices, source_mixing, split
from tui_trainer.engine.data.augment import Augmenter
from tui_trainer.engine.data.example import Examples
from tui_trainer.engine.data.files.row_store import select
from tui_trainer.engine.data.row_formats import read_rows
from tui_trainer.engine.data.rows import ReadRows, Row
from tui_trainer.engine.data.tokens import encoding, token_table
from tui_trainer.engine.data.tokens.token_cache import TokenCache
from tui_trainer.engine.data.tokens.token_table import TokenTable
from tui_trainer.engine.data.tokens.tokenizer_pool import (
    ProgressCallback,
    TokeniseFunction,
    TokenizerPool,
    workers_of_rank,
)
from tui_trainer.store.data_sources import file_list, source_weights

MOST_REASONS = 10  # reasons of a chat template that are told apart


@dataclass(frozen=True)
class Dataset:
    """The examples of a job."""

    train: Examples
    validation: Examples
    replay: Examples  # mixed into every step against forgetting
    retain: Examples  # mixed into every step to keep the base's predictions
    null_space: Examples  # whose strongest input directions the adapter does not read
    notices: list[str]  # a sentence for every problem in the data and every change made to it
    report: DataReport  # all counts
    labels: list[str] = field(default_factory=list)  # classes of a classification, by index
    from_cache: bool = field(default=False, compare=False)  # whether tokens came from the cache


def load_dataset(
    job: Job,
    tokenizer: Any,
    augmenter: Augmenter | None = None,
    on_progress: ProgressCallback | None = None,
) -> Dataset:
    """Read, split and tokenise a job's data.

    `augmenter` adds rewritten rows to the training part. `on_progress` is called with the rows
    tokenised so far and the rows of the part, and may raise. Raises `UserError`.
    """
    settings, seed = job.data, job.training.seed
    labelled = job.task == "classification"
    # Read the rows of each part.
    train_files, weights = file_list(settings.train), source_weights(settings.train)
    columns = settings.columns
    train = read_rows(
        train_files,
        labelled=labelled,
        source_weights=weights,
        columns=columns,
        columns_needed=True,
    )
    validation, replay, retain, null_space = (
        read_rows(file_list(files), labelled=labelled, columns=named) if files else ReadRows([])
        for files, named in (
            (settings.validation, columns),
            (settings.replay, None),
            (settings.retain, None),
            (settings.null_space, None),
        )
    )

    # Drop duplicates and hold out rows for validation.
    parts = split.split_rows(train, validation, settings, seed)
    train, validation = parts.train, parts.validation

    # Add rows that a model rewrites.
    augmented = None
    if augmenter is not None:
        own = list(train.found)
        added, augmented = augmenter(own, validation.found)
        train = replace(train, found=[*own, *added])

    # Use the rows of each source as often as the job says.
    mixed, sources = source_mixing.mix(train.found, train_files, weights, seed)
    train = replace(train, found=mixed)

    # Render the chat template and tokenise, unless the tokens are in the cache.
    classes = class_balance.find_classes(train.found) if labelled else []
    cache = TokenCache(tokenizer) if settings.cache else None
    with TokenizerPool(tokenizer, workers_of_rank(settings.workers), on_progress) as pool:
        encoded = [
            encode_part(rows, pool, settings.max_length, classes, cache, settings.learn)
            for rows in (train, validation, replay, retain, null_space)
        ]
    (train_examples, train_report), (held_out, held_out_report), *others = encoded
    (replayed, replay_report), (retained, retain_report), (unread, unread_report) = others
    retained = retained.as_retained()
    if not train_examples:
        _raise_if_refused(train, train_report)
        raise UserError(
            f"no training example keeps an answer within data.max_length = {settings.max_length} "
            "tokens; raise data.max_length"
        )

    # Balance the classes.
    labels: list[LabelReport] = []
    if classes:
        train_examples, labels = class_balance.balance(
            train_examples, held_out, classes, settings.balance, seed
        )
        train_report = msgspec.structs.replace(train_report, examples=len(train_examples))

    # Report.
    report = DataReport(
        train=train_report,
        validation=held_out_report,
        replay=replay_report,
        retain=retain_report,
        null_space=unread_report,
        repeats=parts.repeats,
        labels=labels,
        fingerprint=fingerprint(
            train_examples, held_out, replayed, *filter(None, (retained, unread))
        ),
        sources=sources,
        augmented=augmented,
    )
    notices = data_notices.notices(report, job)
    if cache is not None and cache.problem is not None:
        notices.append(cache.problem)
    return Dataset(
        train=train_examples,
        validation=held_out,
        replay=replayed,
        retain=retained,
        null_space=unread,
        notices=notices,
        report=report,
        labels=classes,
        from_cache=cache is not None and cache.hits > 0,
    )


def encode_part(
    rows: ReadRows,
    pool: TokenizerPool,
    max_length: int,
    classes: Sequence[str] = (),
    cache: TokenCache | None = None,
    learn: Learn = "answers",
) -> tuple[Examples, PartReport]:
    """Turn one part's rows into examples of at most `max_length` tokens, and count them.

    With `classes` each example's label is predicted, and rows of other classes are left out;
    without, the text is learned or what `learn` says of a conversation. Conversations that the
    base's chat template cannot write are left out. Raises `UserError`.
    """
    function: TokeniseFunction
    contents: Iterable[object]
    indices = {name: index for index, name in enumerate(classes)}
    chosen = rows.found
    if classes:
        known = (at for at, row in enumerate(rows.found) if row.label in indices)
        chosen = select(rows.found, known)
        contents = _texts(chosen)
        function = encoding.tokenise_texts
    else:
        contents = ((row.text, row.messages, row.tools) for row in chosen)
        function = encoding.tokenise_rows
        if learn != "answers":
            function = partial(function, learn=learn)

    def tokenise() -> TokenTable:
        inputs: Iterable[Row | str] = _texts(chosen) if classes else chosen
        return token_table.build(pool.tokenise(function, inputs, len(chosen), max_length))

    if cache is None:
        tokens = tokenise()
    else:
        settings = ("texts", max_length) if classes else ("rows", max_length, learn)
        tokens = cache.get(settings, contents, len(chosen), tokenise)

    examples = encoding.make_examples(chosen, tokens, indices)
    return examples, _part_report(rows, examples, tokens)


def _texts(rows: Iterable[Row]) -> Iterator[str]:
    return (row.text or "" for row in rows)


def _part_report(rows: ReadRows, examples: Examples, tokens: TokenTable) -> PartReport:
    made = len(np.unique(tokens.rows))
    refused = refused_rows(rows.found, tokens.refused)
    unused = list(rows.unused)
    if tokens.without_tools:
        first = [rows.found[number].where for number in tokens.without_tools[:MOST_LOCATIONS]]
        unused.append(UnusedField(field="tools", rows=len(tokens.without_tools), where=first))
    return PartReport(
        rows=rows.total,
        empty=rows.empty,
        left_out=[*rows.left_out, *refused],
        unused=unused,
        shapes=rows.shapes,
        columns=rows.columns[:MOST_COLUMNS],
        more_columns=max(0, len(rows.columns) - MOST_COLUMNS),
        cut=tokens.longer,
        unanswered=len(rows.found) - made - sum(item.rows for item in refused),
        examples=len(examples),
        tokens=int(examples.lengths.sum()),
        learned=int(examples.learned_counts.sum()),
        longest=int(examples.lengths.max(initial=0)),
    )


def refused_rows(rows: Sequence[Row], refused: Sequence[tuple[int, str]]) -> list[LeftOutRows]:
    """Return the rows that the base's chat template cannot write, by reason. `refused` has the
    number and the reason of each."""
    found: dict[str, list[int]] = {}
    for number, reason in refused:
        if reason not in found and len(found) == MOST_REASONS:
            reason = "the base's chat template refuses the conversation, for other reasons"
        found.setdefault(reason, []).append(number)
    return [
        LeftOutRows(
            reason=reason,
            rows=len(numbers),
            where=[rows[number].where for number in numbers[:MOST_LOCATIONS]],
        )
        for reason, numbers in found.items()
    ]


def _raise_if_refused(train: ReadRows, report: PartReport) -> None:
    """Raises `UserError` where the chat template refuses every training row."""
    refused = report.left_out[len(train.left_out) :]
    if refused and sum(item.rows for item in refused) == len(train.found):
        raise UserError(
            f"no training row can be used with this base: {'; '.join(r.text() for r in refused)}; "
            "change the rows or use another base"
        )


def fingerprint(*parts: Examples) -> str:
    """Return the SHA-256 over every example of every part, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        labels: Iterable[int | None] = repeat(None) if part.labels is None else part.labels.tolist()
        for (ids, learned), weight, label in zip(part.numbers(), part.weights.tolist(), labels):  # noqa: B905  (None for ever)
            digest.update(np.concatenate([[len(ids)], ids, learned]).tobytes())
            digest.update(f"{weight!r} {label}".encode())
    return digest.hexdigest()
