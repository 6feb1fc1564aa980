"""Rows to token ids: render the chat template, tokenise, mask what is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.data.rows import Message, Row
from tui_trainer.engine.data.tokens.token_arrays import Tokens
from tui_trainer.models.chat_template import render

Span = tuple[int, int]  # start and end, in characters


def tokenise_rows(rows: Sequence[Row], tokenizer: Any, max_length: int) -> Tokens:
    """Tokenise conversations and texts, with masks. Rows longer than `max_length` tokens are cut;
    rows in which nothing learned remains get no tokens. Raises `UserError` for a conversation that
    the chat template refuses."""
    rendered = [_render_row(row, tokenizer) for row in rows]
    encoded = tokenizer(
        [text for text, _ in rendered], add_special_tokens=False, return_offsets_mapping=True
    )
    tokens = Tokens([], [], sum(len(ids) > max_length for ids in encoded["input_ids"]))
    for (_, spans), ids, offsets in zip(
        rendered, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        learned = mask(offsets[:max_length], spans)
        kept = any(learned[1:])  # nothing predicts the first token
        tokens.ids.append(ids[:max_length] if kept else [])
        tokens.learned.append(learned if kept else [])
    return tokens


def tokenise_texts(texts: list[str], tokenizer: Any, max_length: int) -> Tokens:
    """Tokenise texts with the base's special tokens, for a classification. Over `max_length`
    tokens the text is cut, not its closing token. No token is learned: the class is."""
    uncut: list[list[int]] = tokenizer(texts)["input_ids"]
    cut: list[list[int]] = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    longer = sum(len(ids) > max_length for ids in uncut)
    return Tokens(cut, [[0] * len(ids) for ids in cut], longer)


def make_examples(rows: Sequence[Row], tokens: Tokens, classes: Mapping[str, int]) -> list[Example]:
    """Join rows with their tokens, leaving out rows without any; `classes` maps the labels of a
    classification to their indices."""
    return [
        Example(
            ids,
            learned,
            row.weight,
            classes[row.label or ""] if classes else None,
            group=row.group,
            where=row.where,
        )
        for row, ids, learned in zip(rows, tokens.ids, tokens.learned, strict=True)
        if ids
    ]


def _render_row(row: Row, tokenizer: Any) -> tuple[str, list[Span]]:
    """Return the row's text, and the spans in it that are learned: from where the base would start
    to answer to the end of the turn, without white space after its last token."""
    if row.text is not None:
        text = row.text + (tokenizer.eos_token or "")
        return text, [(0, len(text))]
    text = _render_turns(tokenizer, row.messages, row.where)
    spans = []
    for index, turn in enumerate(row.messages):
        if turn.role != "assistant" or not turn.learned:
            continue
        prompt = _render_turns(tokenizer, row.messages[:index], row.where, ask=True)
        until = _render_turns(tokenizer, row.messages[: index + 1], row.where)
        if not text.startswith(until):
            raise UserError(
                f"{row.where}: the base's chat template rewrites earlier turns, so the answers in "
                "this conversation cannot be located; write one question and answer per row"
            )
        # Some templates open the answer with text that they drop from finished turns, such as an
        # empty thought.
        start = _common_length(prompt, until)
        spans.append((start, _end_of_turn(tokenizer, until)))
    return text, spans


def _common_length(one: str, other: str) -> int:
    """Return the length of the longest common prefix."""
    if other.startswith(one):
        return len(one)
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _end_of_turn(tokenizer: Any, text: str) -> int:
    """Return where the last turn of `text` ends: white space after a special token, such as
    ChatML's line break, is never generated and so not learned."""
    stripped = text.rstrip()
    special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
    return len(stripped) if stripped.endswith(tuple(special)) else len(text)


def _render_turns(
    tokenizer: Any, turns: Sequence[Message], where: str, *, ask: bool = False
) -> str:
    try:
        return render(tokenizer, turns, ask=ask)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


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
