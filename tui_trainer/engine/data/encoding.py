"""From rows to token ids, with a mask of what is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tui_trainer.contracts.data import MOST_COLUMNS, PartReport
from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.data.row_formats import Message, ReadRows, Row
from tui_trainer.engine.data.token_cache import TokenCache, Tokens
from tui_trainer.engine.data.tokenizer_pool import TokenizerPool
from tui_trainer.models.chat_template import render

Span = tuple[int, int]


def encode(
    rows: ReadRows,
    tokenizer: Any,
    max_length: int,
    cache: TokenCache | None = None,
    crew: TokenizerPool | None = None,
) -> tuple[list[Example], PartReport]:
    """Conversations and texts with masks; what is over `max_length` is cut, and left out where
    no answer remains; `crew` says who tokenises. Raises `UserError` for what the chat template
    refuses."""
    if not rows.found:
        return [], _report(rows, [], 0)

    def make() -> Tokens:
        return (crew or TokenizerPool(tokenizer)).tokenise(_tokenise, rows.found, max_length)

    said = ((row.text, row.messages) for row in rows.found)
    tokens = make() if cache is None else cache.get(("rows", max_length), said, make)
    examples = [
        Example(ids, learned, row.weight, group=row.group)
        for row, ids, learned in zip(rows.found, tokens.ids, tokens.learned, strict=True)
        if ids
    ]
    return examples, _report(rows, examples, tokens.longer)


def encode_labelled(
    rows: ReadRows,
    tokenizer: Any,
    max_length: int,
    classes: Mapping[str, int],
    cache: TokenCache | None = None,
    crew: TokenizerPool | None = None,
) -> tuple[list[Example], PartReport]:
    """Texts with the base's own special tokens and their classes; over `max_length` the text is
    cut, not its closing token. Rows of other classes are left out, as unanswered."""
    known = [row for row in rows.found if row.label in classes]
    if not known:
        return [], _report(rows, [], 0)
    texts = [row.text or "" for row in known]

    def make() -> Tokens:
        return (crew or TokenizerPool(tokenizer)).tokenise(_tokenise_texts, texts, max_length)

    tokens = make() if cache is None else cache.get(("texts", max_length), texts, make)
    examples = [
        Example(ids, learned, row.weight, classes[row.label or ""])
        for row, ids, learned in zip(known, tokens.ids, tokens.learned, strict=True)
        if ids
    ]
    return examples, _report(rows, examples, tokens.longer)


def _tokenise(rows: Sequence[Row], tokenizer: Any, max_length: int) -> Tokens:
    rendered = [_render(row, tokenizer) for row in rows]
    encoded = tokenizer(
        [text for text, _ in rendered], add_special_tokens=False, return_offsets_mapping=True
    )
    tokens = Tokens([], [], sum(len(ids) > max_length for ids in encoded["input_ids"]))
    for (_, spans), ids, offsets in zip(
        rendered, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        learned = mask(offsets[:max_length], spans)
        kept = any(learned[1:])  # the first token has nothing to be predicted from
        tokens.ids.append(ids[:max_length] if kept else [])
        tokens.learned.append(learned if kept else [])
    return tokens


def _tokenise_texts(texts: list[str], tokenizer: Any, max_length: int) -> Tokens:
    whole: list[list[int]] = tokenizer(texts)["input_ids"]
    cut: list[list[int]] = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    longer = sum(len(ids) > max_length for ids in whole)
    return Tokens(cut, [[0] * len(ids) for ids in cut], longer)


def _report(rows: ReadRows, examples: list[Example], longer: int) -> PartReport:
    lengths = [len(example.input_ids) for example in examples]
    return PartReport(
        rows=rows.total,
        empty=rows.empty,
        left_out=rows.left_out,
        unused=rows.unused,
        columns=rows.columns[:MOST_COLUMNS],
        more_columns=max(0, len(rows.columns) - MOST_COLUMNS),
        cut=longer,
        unanswered=len(rows.found) - len(examples),
        examples=len(examples),
        tokens=sum(lengths),
        learned=sum(example.learned_count() for example in examples),
        longest=max(lengths, default=0),
    )


def _render(row: Row, tokenizer: Any) -> tuple[str, list[Span]]:
    """The row's text, and the character spans of what is learned in it: from where the base
    would begin to answer to the end of the turn, without white space after its last token."""
    if row.text is not None:
        text = row.text + (tokenizer.eos_token or "")
        return text, [(0, len(text))]
    text = _conversation(tokenizer, row.messages, row.where)
    spans = []
    for index, turn in enumerate(row.messages):
        if turn.role != "assistant" or not turn.learned:
            continue
        asked = _conversation(tokenizer, row.messages[:index], row.where, ask=True)
        until = _conversation(tokenizer, row.messages[: index + 1], row.where)
        if not text.startswith(until):
            raise UserError(
                f"{row.where}: the base's chat template rewrites earlier turns, so this "
                "conversation cannot be masked; give one question and answer a row"
            )
        # Some templates open the answer with more than they leave there (an empty thought).
        start = _common_length(asked, until)
        spans.append((start, _end_of_turn(tokenizer, until)))
    return text, spans


def _common_length(one: str, other: str) -> int:
    if other.startswith(one):
        return len(one)
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _end_of_turn(tokenizer: Any, text: str) -> int:
    """Where the turn at the end of `text` ends: white space after a special token, such as
    ChatML's line break, is never produced and so not learned."""
    bare = text.rstrip()
    special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
    return len(bare) if bare.endswith(tuple(special)) else len(text)


def _conversation(
    tokenizer: Any, turns: Sequence[Message], where: str, *, ask: bool = False
) -> str:
    try:
        return render(tokenizer, turns, ask=ask)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def mask(offsets: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """1 for every token that begins inside a span."""
    found = [0] * len(offsets)
    position = 0
    for start, end in spans:
        while position < len(offsets) and offsets[position][0] < start:
            position += 1
        while position < len(offsets) and offsets[position][0] < end:
            found[position] = 1
            position += 1
    return found
