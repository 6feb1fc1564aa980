"""From a conversation to what the base reads, and where its answer ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tui_trainer.contracts.errors import UserError

_SENTINEL = "answer"


class RenderedTurns(Protocol):
    """A turn of a conversation."""

    @property
    def role(self) -> str: ...

    @property
    def content(self) -> str: ...


@dataclass(frozen=True)
class EncodedPrompt:
    """`input_ids` of the prompt, how many of the oldest turns had to be left out of it, and
    the tokens that the answer may have."""

    input_ids: list[int]
    dropped_turns: int
    max_new_tokens: int


def render(tokenizer: Any, turns: Sequence[RenderedTurns], *, ask: bool) -> str:
    """The conversation as the base's chat template writes it; with `ask` the answer follows.

    A base without a template gets turns on lines of their own, and answers that end with its
    end-of-text token. Raises `UserError` for what the template refuses, such as system turns.
    """
    if not tokenizer.chat_template:
        end = tokenizer.eos_token or ""
        return "".join(t.content + (end if t.role == "assistant" else "\n") for t in turns)
    plain = [{"role": turn.role, "content": turn.content} for turn in turns]
    try:
        text: str = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=ask)
    except Exception as error:  # templates raise what they like
        raise UserError(f"the base's chat template refuses the conversation: {error}") from error
    return text


def fit(
    tokenizer: Any, turns: Sequence[RenderedTurns], context: int | None, room: int
) -> EncodedPrompt:
    """The prompt for the next answer of up to `room` tokens.

    Where both do not fit into `context` tokens, the oldest turns are left out (never a system
    turn at the start, nor the question); where that is not enough, the answer gets what is
    left. Raises `UserError` for a conversation that is not at a question or cannot fit.
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
        # More than half of the context is not kept free for an answer.
        if context is None or len(ids) + min(room, context // 2) <= context:
            return EncodedPrompt(
                ids, dropped, room if context is None else min(room, context - len(ids))
            )
        if opening + dropped == len(turns) - 1:
            break
        dropped = _next_start(turns, opening, dropped)
    if len(ids) >= context:
        raise UserError(
            f"the question has {len(ids):,} tokens and the base reads {context:,}; shorten it"
        )
    return EncodedPrompt(ids, dropped, min(room, context - len(ids)))


def _next_start(turns: Sequence[RenderedTurns], opening: int, dropped: int) -> int:
    """Leaves out one exchange more: templates want a conversation to begin with the user."""
    dropped += 1
    while opening + dropped < len(turns) - 1 and turns[opening + dropped].role != "user":
        dropped += 1
    return dropped


def context_length(config: Any) -> int | None:
    """How many tokens a base reads, from its configuration; None where it does not say."""
    text = config.get_text_config()
    length = getattr(text, "max_position_embeddings", None)
    return int(length) if length else None


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The ids after which an answer is complete: every end of text that model, configuration
    and tokenizer name, and the special token that ends a turn in the chat template."""
    found: list[int] = []
    for named in (
        model.generation_config.eos_token_id,
        model.config.get_text_config().eos_token_id,
        tokenizer.eos_token_id,
        _end_of_turn(tokenizer),
    ):
        if named is not None:
            found += named if isinstance(named, list) else [named]
    return sorted(set(found))


def _end_of_turn(tokenizer: Any) -> int | None:
    if not tokenizer.chat_template:
        return None
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _SENTINEL}]
    try:
        text: str = tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception:  # a template that cannot show an answer cannot tell its end
        return None
    after = tokenizer(text.rpartition(_SENTINEL)[2], add_special_tokens=False).input_ids
    if not after:
        return None
    first: int = after[0]
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return first if first in special else None
