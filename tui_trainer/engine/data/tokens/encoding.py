"""Rows to token ids: render the chat template, tokenise, mask what is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Learn
from tui_trainer.engine.data.example import Examples
from tui_trainer.engine.data.rows import Row
from tui_trainer.engine.data.tokens.conversation_text import ConversationTexts, Span
from tui_trainer.engine.data.tokens.token_arrays import Tokens
from tui_trainer.engine.data.tokens.token_table import TokenTable
from tui_trainer.models.chat_template import opening_tokens, with_opening


def tokenise_rows(
    rows: Sequence[Row], tokenizer: Any, max_length: int, learn: Learn = "answers"
) -> Tokens:
    """Tokenise conversations and texts, with masks. Examples longer than `max_length` tokens are
    cut; those in which nothing learned remains are left out, and so are the conversations that the
    chat template refuses or does not write whole."""
    conversations = ConversationTexts(tokenizer, learn)
    texts: list[str] = []
    spans: list[list[Span]] = []
    numbers: list[int] = []
    tokens = Tokens([], [], [], len(rows))
    for number, row in enumerate(rows):
        try:
            found = conversations.of_row(row)
        except UserError as error:
            tokens.refused.append((number, str(error)))
            continue
        if row.tools and not conversations.writes_tools():
            tokens.without_tools.append(number)
        for text, parts in found:
            texts.append(text)
            spans.append(parts)
            numbers.append(number)
    if not texts:
        return tokens
    opening = opening_tokens(tokenizer)
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    longer = set()
    for number, parts, plain, offsets in zip(
        numbers, spans, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        ids = with_opening(opening, plain)
        before = len(ids) - len(plain)
        learned = [0] * before + mask(offsets[: max(0, max_length - before)], parts)
        if len(ids) > max_length:
            longer.add(number)
            ids, learned = ids[:max_length], learned[:max_length]
        if any(learned[1:]):  # nothing predicts the first token
            tokens.ids.append(ids)
            tokens.learned.append(learned)
            tokens.rows.append(number)
    return replace(tokens, longer=len(longer))


def tokenise_texts(texts: list[str], tokenizer: Any, max_length: int) -> Tokens:
    """Tokenise texts with the base's special tokens, for a classification. Over `max_length`
    tokens the text is cut, not its closing token. No token is learned: the class is."""
    uncut: list[list[int]] = tokenizer(texts)["input_ids"]
    cut: list[list[int]] = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    longer = sum(len(ids) > max_length for ids in uncut)
    numbered = [(number, ids) for number, ids in enumerate(cut) if ids]
    return Tokens(
        [ids for _, ids in numbered],
        [[0] * len(ids) for _, ids in numbered],
        [number for number, _ in numbered],
        len(texts),
        longer,
    )


def make_examples(rows: Sequence[Row], tokens: TokenTable, classes: Mapping[str, int]) -> Examples:
    """Join rows with their tokens; `classes` maps the labels of a classification to their
    indices."""
    weights = np.ones(len(rows))
    labels = np.zeros(len(rows), dtype=np.int64)
    groups: dict[int, str] = {}
    names: dict[str, str] = {}  # the same group is the same object
    for number, row in enumerate(rows):
        weights[number] = row.weight
        if classes:
            labels[number] = classes[row.label or ""]
        if row.group:
            groups[number] = names.setdefault(row.group, row.group)
    return Examples(
        tokens,
        rows,
        weights[tokens.rows],
        labels[tokens.rows] if classes else None,
        [groups.get(number, "") for number in tokens.rows.tolist()] if groups else None,
    )


def mask(offsets: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """Return 1 for every token that starts inside a span, else 0."""
    learned = [0] * len(offsets)
    position = 0
    for start, end in spans:
        while position < len(offsets) and offsets[position][0] < start:
            position += 1
        while position < len(offsets) and offsets[position][0] < end:
            learned[position] = 1
            position += 1
    return learned
