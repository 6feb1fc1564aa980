"""From rows to token ids with a mask of what is learned, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.engine.rows import Message, Row, read_rows
from tui_trainer.models.prompt import render
from tui_trainer.store import jobs


@dataclass(frozen=True)
class Example:
    """`input_ids` (tokens), `learned` (0/1 a token, 1 where it counts in the loss), weight."""

    input_ids: list[int]
    learned: list[int]
    weight: float


@dataclass(frozen=True)
class Dataset:
    """The examples of each part, and a sentence for everything that was changed."""

    train: list[Example]
    validation: list[Example]
    replay: list[Example]
    notices: list[str]


def load_dataset(job: Job, tokenizer: Any) -> Dataset:
    """Reads, splits and tokenises a job's data. Raises `UserError`."""
    train_rows = read_rows(jobs.file_list(job.data.train))
    validation_rows = read_rows(jobs.file_list(job.data.validation)) if job.data.validation else []
    replay_rows = read_rows(jobs.file_list(job.data.replay)) if job.data.replay else []
    if job.data.val_split is not None:
        train_rows, validation_rows = _split(train_rows, job.data.val_split, job.training.seed)
    notices: list[str] = []
    train = _tokenise(train_rows, tokenizer, job.data.max_length, "training", notices)
    validation = _tokenise(validation_rows, tokenizer, job.data.max_length, "validation", notices)
    replay = _tokenise(replay_rows, tokenizer, job.data.max_length, "replayed", notices)
    if not train:
        raise UserError(
            f"no training example keeps an answer within data.max_length = {job.data.max_length} "
            "tokens; raise it"
        )
    return Dataset(train, validation, replay, notices)


def epoch_order(examples: int, seed: int, epoch: int) -> list[int]:
    """The order of an epoch's examples: another each epoch, the same for the same seed."""
    order: list[int] = np.random.default_rng([seed, epoch]).permutation(examples).tolist()
    return order


def replay_choice(examples: int, seed: int, step: int, count: int) -> list[int]:
    """Which replayed examples join a step: drawn anew for each, the same for the same seed."""
    generator = np.random.default_rng([seed, step, 1])  # the 1 sets it apart from epoch_order
    drawn: list[int] = generator.choice(examples, min(count, examples), replace=False).tolist()
    return drawn


def _split(rows: list[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """A seeded, disjoint split; each side gets at least one row."""
    if len(rows) < 2:
        raise UserError("data.val_split needs at least two training rows")
    held_out = min(len(rows) - 1, max(1, round(len(rows) * share)))
    chosen = set(epoch_order(len(rows), seed, 0)[:held_out])
    train = [row for i, row in enumerate(rows) if i not in chosen]
    return train, [row for i, row in enumerate(rows) if i in chosen]


def _tokenise(
    rows: list[Row], tokenizer: Any, max_length: int, part: str, notices: list[str]
) -> list[Example]:
    """Token ids with masks; rows over `max_length` are cut, those left unanswered dropped."""
    if not rows:
        return []
    rendered = [_render(row, tokenizer) for row in rows]
    encoded = tokenizer(
        [text for text, _ in rendered], add_special_tokens=False, return_offsets_mapping=True
    )
    examples, cut, dropped = [], 0, 0
    for row, (_, spans), ids, offsets in zip(
        rows, rendered, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        learned = _mask(offsets, spans)
        cut += len(ids) > max_length
        ids, learned = ids[:max_length], learned[:max_length]
        if any(learned[1:]):  # the first token has nothing to be predicted from
            examples.append(Example(ids, learned, row.weight))
        else:
            dropped += 1
    if cut:
        notices.append(f"{cut} of {len(rows)} {part} rows are longer than {max_length} tokens: cut")
    if dropped:
        notices.append(f"{dropped} {part} rows left out: no answer within {max_length} tokens")
    return examples


def _render(row: Row, tokenizer: Any) -> tuple[str, list[tuple[int, int]]]:
    """The row's text, and the character spans of what is learned in it."""
    if row.text is not None:
        text = row.text + (tokenizer.eos_token or "")
        return text, [(0, len(text))]
    text = _conversation(tokenizer, row.messages, row.where)
    spans = []
    for index, turn in enumerate(row.messages):
        if turn.role != "assistant" or not turn.learned:
            continue
        start = len(_conversation(tokenizer, row.messages[:index], row.where, ask=True))
        until = _conversation(tokenizer, row.messages[: index + 1], row.where)
        if not text.startswith(until):
            raise UserError(
                f"{row.where}: the base's chat template rewrites earlier turns, so this "
                "conversation cannot be masked; give one question and answer a row"
            )
        spans.append((start, len(until)))
    return text, spans


def _conversation(
    tokenizer: Any, turns: Sequence[Message], where: str, *, ask: bool = False
) -> str:
    try:
        return render(tokenizer, turns, ask=ask)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _mask(offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    """1 for every token that begins inside a span."""
    mask = [0] * len(offsets)
    position = 0
    for start, end in spans:
        while position < len(offsets) and offsets[position][0] < start:
            position += 1
        while position < len(offsets) and offsets[position][0] < end:
            mask[position] = 1
            position += 1
    return mask
