"""Rendering conversations for a base with its chat template, and the tokens that end an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tui_trainer.contracts.errors import UserError
from tui_trainer.text.formats import count

_SENTINEL = "answer"


class RenderedTurns(Protocol):
    """A turn of a conversation."""

    @property
    def role(self) -> str: ...

    @property
    def content(self) -> str: ...


@dataclass(frozen=True)
class EncodedPrompt:
    """A conversation ready for generating the next answer."""

    input_ids: list[int]  # tokens of the prompt
    dropped_turns: int  # oldest turns that were left out, to fit into the context
    max_new_tokens: int  # most tokens of the answer


def render(tokenizer: Any, turns: Sequence[RenderedTurns], *, ask: bool) -> str:
    """Return the conversation in the base's chat template; with `ask` up to where an answer starts.

    Without a template every turn is a line, and answers end with the end-of-text token. Raises
    `UserError` for conversations that the template refuses, such as those with system turns.
    """
    if not tokenizer.chat_template:
        end = tokenizer.eos_token or ""
        return "".join(t.content + (end if t.role == "assistant" else "\n") for t in turns)
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    try:
        text: str = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=ask
        )
    except Exception as error:  # templates may raise anything
        raise UserError(f"the base's chat template refuses the conversation: {error}") from error
    return text


def fit(
    tokenizer: Any, turns: Sequence[RenderedTurns], context: int | None, max_new_tokens: int
) -> EncodedPrompt:
    """Return the prompt for the next answer of up to `max_new_tokens` tokens.

    Where both do not fit into `context` tokens (None: no limit), the oldest turns are left out,
    except a system turn at the start and the question. Where that is not enough, the answer is
    limited to the remaining tokens. Raises `UserError` for a conversation that does not end with a
    question or cannot fit.
    """
    if not turns or turns[-1].role == "assistant":
        raise UserError("there is no question to answer: the last turn must be the user's")
    opening = 1 if turns[0].role == "system" and len(turns) > 1 else 0
    dropped = 0
    while True:
        kept = [*turns[:opening], *turns[opening + dropped :]]
        ids: list[int] = tokenizer(
            render(tokenizer, kept, ask=True), add_special_tokens=False
        ).input_ids
        if not ids:
            raise UserError("the question is empty")
        # At most half of the context is reserved for the answer.
        if context is None or len(ids) + min(max_new_tokens, context // 2) <= context:
            most = max_new_tokens if context is None else min(max_new_tokens, context - len(ids))
            return EncodedPrompt(ids, dropped, most)
        if opening + dropped == len(turns) - 1:
            break
        dropped = _drop_exchange(turns, opening, dropped)
    if len(ids) >= context:
        raise UserError(
            f"the question has {count(len(ids))} tokens and the base reads at most "
            f"{count(context)}; shorten the question"
        )
    return EncodedPrompt(ids, dropped, min(max_new_tokens, context - len(ids)))


def _drop_exchange(turns: Sequence[RenderedTurns], opening: int, dropped: int) -> int:
    """Return `dropped` after one more exchange: templates need the user's turn first."""
    dropped += 1
    while opening + dropped < len(turns) - 1 and turns[opening + dropped].role != "user":
        dropped += 1
    return dropped


def context_length(config: Any) -> int | None:
    """Return the most tokens that a base reads, from its configuration; None where unknown."""
    text = config.get_text_config()
    length = getattr(text, "max_position_embeddings", None)
    return int(length) if length else None


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the ids that end an answer: every end-of-text token of model, configuration and
    tokenizer, and the special token that ends a turn in the chat template."""
    found: list[int] = []
    for ids in (
        model.generation_config.eos_token_id,
        model.config.get_text_config().eos_token_id,
        tokenizer.eos_token_id,
        _end_of_turn(tokenizer),
    ):
        if ids is not None:
            found += ids if isinstance(ids, list) else [ids]
    return sorted(set(found))


def _end_of_turn(tokenizer: Any) -> int | None:
    """Return the special token after an answer in the chat template; None where there is none."""
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _SENTINEL}]
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # a template that cannot render an answer
        return None
    after = tokenizer(text.rpartition(_SENTINEL)[2], add_special_tokens=False).input_ids
    if not after:
        return None
    first: int = after[0]
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return first if first in special else None
