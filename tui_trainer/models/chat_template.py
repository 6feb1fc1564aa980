"""Rendering conversations for a base with its chat template, and the tokens that end an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.models.template_messages import RenderedTurns, TemplateRenderer
from tui_trainer.models.turn_end import find_turn_end, generation_stops
from tui_trainer.text.formats import count

__all__ = [
    "EncodedPrompt",
    "RenderedTurns",
    "context_length",
    "fit",
    "opening_tokens",
    "render",
    "stop_tokens",
    "with_opening",
]


@dataclass(frozen=True)
class EncodedPrompt:
    """A conversation ready for generating the next answer."""

    input_ids: list[int]  # tokens of the prompt
    dropped_turns: int  # oldest turns that were left out, to fit into the context
    max_new_tokens: int  # most tokens of the answer


def render(tokenizer: Any, turns: Sequence[RenderedTurns], *, ask: bool, tools: str = "") -> str:
    """Return the conversation in the base's chat template; with `ask` up to where an answer starts.
    `tools` are definitions of tools, a JSON list. Raises `UserError` for conversations that the
    template refuses, such as those with system turns."""
    renderer = TemplateRenderer(tokenizer)
    return renderer.render(renderer.messages(turns), ask=ask, tools=tools)


def opening_tokens(tokenizer: Any) -> list[int]:
    """Return the tokens that the base's tokenizer puts before every text, such as
    beginning-of-text; `with_opening` puts them there in training, chat and evaluation."""
    plain = tokenizer("a", add_special_tokens=False).input_ids
    whole: list[int] = tokenizer("a").input_ids
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return list(whole[:start])
    return []


def with_opening(opening: list[int], ids: list[int]) -> list[int]:
    """Return a text's tokens after the tokenizer's opening ones, exactly once where the chat
    template or the text has them already."""
    missing = 0 if ids[: len(opening)] == opening else len(opening)
    return opening[:missing] + ids


def fit(
    tokenizer: Any,
    turns: Sequence[RenderedTurns],
    context: int | None,
    max_new_tokens: int,
    tools: str = "",
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
    before = opening_tokens(tokenizer)
    while True:
        kept = [*turns[:opening], *turns[opening + dropped :]]
        ids: list[int] = tokenizer(
            render(tokenizer, kept, ask=True, tools=tools), add_special_tokens=False
        ).input_ids
        if not ids:
            raise UserError("the question is empty")
        ids = with_opening(before, ids)
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
    tokenizer, and the special token that ends an answer in the chat template and is learned."""
    end = find_turn_end(TemplateRenderer(tokenizer), generation_stops(tokenizer))
    found: list[int] = []
    for ids in (
        model.generation_config.eos_token_id,
        model.config.get_text_config().eos_token_id,
        tokenizer.eos_token_id,
        None if end is None or not tokenizer.chat_template else end.token(tokenizer),
    ):
        if ids is not None:
            found += ids if isinstance(ids, list) else [ids]
    return sorted(set(found))
