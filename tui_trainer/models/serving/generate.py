"""Answers: one as it is written, many at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from tui_trainer.models import chat_template
from tui_trainer.models.chat_template import EncodedPrompt, RenderedTurns

# A batch holds at most so many answers and, with its padding, so many tokens.
BATCH_ANSWERS = 64
BATCH_TOKENS = 32_768


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen: temperature 0 takes the likeliest each time; otherwise one is
    drawn from the smallest set that holds `top_p` of the probability, by `seed` if given."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


@dataclass(frozen=True)
class GeneratedText:
    """An answer, its tokens (an end token is counted), the seconds it took, whether it was
    ended early."""

    text: str
    tokens: int
    seconds: float
    cancelled: bool


class _AfterToken(StoppingCriteria):
    """Calls `look` with all token ids so far after every token; stops where it gives True."""

    def __init__(self, look: Callable[[torch.Tensor], bool]) -> None:
        self._look = look

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.BoolTensor:
        """Whether each row is done, shape (rows,)."""
        over = self._look(input_ids)
        rows, device = input_ids.shape[0], input_ids.device
        return torch.full((rows,), over, dtype=torch.bool, device=device)  # type: ignore[return-value]


class TextGenerator:
    """A base model with its tokenizer, ready to answer; the model may carry adapters."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.context = chat_template.context_length(model.config)
        self.stops = chat_template.stop_tokens(model, tokenizer)
        # A base's own defaults (sampling, penalties) would turn greedy answers into others.
        model.generation_config = GenerationConfig()

    def fit(self, turns: Sequence[RenderedTurns], max_new_tokens: int) -> EncodedPrompt:
        """The prompt for a conversation; see `prompt.fit`. Raises `UserError`."""
        return chat_template.fit(self.tokenizer, turns, self.context, max_new_tokens)

    def write(
        self,
        asked: EncodedPrompt,
        sampling: Sampling,
        on_text: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> GeneratedText:
        """One answer. `on_text` gets its whole characters as they come; `cancelled` is asked
        after every token."""
        began = time.perf_counter()
        start, sent, ended = len(asked.input_ids), 0, False

        def look(ids: torch.Tensor) -> bool:
            nonlocal sent, ended
            text = _whole_characters(self._decode(ids[0, start:].tolist()))
            if len(text) > sent:
                on_text(text[sent:])
                sent = len(text)
            ended = cancelled()
            return ended

        if cancelled():
            return GeneratedText("", 0, 0.0, True)
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        made = self._generate([asked.input_ids], asked.max_new_tokens, sampling, look)[0]
        text = self._decode(made)
        if len(text) > sent:  # an unfinished character at the very end
            on_text(text[sent:])
        return GeneratedText(text, len(made), time.perf_counter() - began, ended)

    def write_many(
        self,
        asked: Sequence[EncodedPrompt],
        between: Callable[[int], bool],
    ) -> list[str] | None:
        """Greedy answers in the order of their prompts, or None where `between` ended it.

        `between` is called with the number of finished answers after every token of a batch;
        it may use the model for something else meanwhile, and ends the work by giving True.
        """
        texts = [""] * len(asked)
        finished, ended = 0, False

        def look(_: torch.Tensor) -> bool:
            nonlocal ended
            ended = between(finished)
            return ended

        for rows in _batches(asked):
            room = asked[rows[0]].max_new_tokens
            made = self._generate([asked[row].input_ids for row in rows], room, Sampling(), look)
            if ended:
                return None
            for row, ids in zip(rows, made, strict=True):
                texts[row] = self._decode(ids)
            finished += len(rows)
        return None if between(finished) else texts

    def _generate(
        self,
        rows: list[list[int]],
        max_new_tokens: int,
        sampling: Sampling,
        look: Callable[[torch.Tensor], bool],
    ) -> list[list[int]]:
        """Each row's new tokens up to and with its stop token; rows are padded on the left."""
        width = max(len(row) for row in rows)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        settings: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            settings = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": 0,
            }
        config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            pad_token_id=pad,
            eos_token_id=self.stops or None,
            **settings,
        )
        made = self.model.generate(
            input_ids=ids.to(self.model.device),
            attention_mask=seen.to(self.model.device),
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([_AfterToken(look)]),
        )
        return [self._until_stop(row) for row in made[:, width:].tolist()]

    def _until_stop(self, ids: list[int]) -> list[int]:
        for at, token in enumerate(ids):
            if token in self.stops:
                return ids[: at + 1]
        return ids

    def _decode(self, ids: list[int]) -> str:
        if ids and ids[-1] in self.stops:  # not every tokenizer marks it as special
            ids = ids[:-1]
        text: str = self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


def _whole_characters(text: str) -> str:
    """The text without the bytes at its end that may still become a character."""
    return text.rstrip("\ufffd")


def _batches(asked: Sequence[EncodedPrompt]) -> list[list[int]]:
    """Groups of rows of like length, so that little is padded, and of the same room, so that
    none is written beyond the context."""
    order = sorted(
        range(len(asked)), key=lambda row: (asked[row].max_new_tokens, len(asked[row].input_ids))
    )
    groups: list[list[int]] = []
    for row in order:
        room = asked[row].max_new_tokens
        most = min(BATCH_ANSWERS, max(1, BATCH_TOKENS // (len(asked[row].input_ids) + room)))
        last = groups[-1] if groups else []
        if last and len(last) < most and asked[last[0]].max_new_tokens == room:
            last.append(row)
        else:
            groups.append([row])
    return groups
