"""Generates answers: one while it is shown, or many at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from tui_trainer.contracts.chat.sampling import Finish
from tui_trainer.models import chat_template
from tui_trainer.models.chat_template import EncodedPrompt, RenderedTurns
from tui_trainer.models.serving.decode_loop import Conversation, generate_many, generate_one
from tui_trainer.models.serving.decoder import decoder_for
from tui_trainer.models.serving.repetition import repeats
from tui_trainer.models.serving.token_choice import Sampling, TokenChoice

# Limits of one batch: answers, and tokens with padding.
BATCH_ANSWERS = 64
BATCH_TOKENS = 32_768


@dataclass(frozen=True)
class GeneratedText:
    """An answer.

    tokens: how many were generated, the end token included.
    seconds: from the call to the last token.
    finish: why it ended.
    """

    text: str
    tokens: int
    seconds: float
    finish: Finish


class _AfterToken(StoppingCriteria):
    """Calls `ended` with all token ids so far after every token; stops where it gives True."""

    def __init__(self, ended: Callable[[torch.Tensor], bool]) -> None:
        self._ended = ended

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.BoolTensor:
        """Whether each row is done, shape (rows,)."""
        over = self._ended(input_ids)
        rows, device = input_ids.shape[0], input_ids.device
        return torch.full((rows,), over, dtype=torch.bool, device=device)  # type: ignore[return-value]


class TextGenerator:
    """Generates text with a base model and its tokenizer; the model may carry adapters.

    Models of a shape that `decoder` knows are calculated by it, others by transformers.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.context = chat_template.context_length(model.config)
        self.stops = chat_template.stop_tokens(model, tokenizer)
        self.base_sampling = _base_sampling(model.generation_config)
        # A base's own defaults (sampling, penalties) would change greedy answers.
        model.generation_config = GenerationConfig()
        self.decoder = decoder_for(model)
        self._conversation = Conversation()

    def fit(
        self, turns: Sequence[RenderedTurns], max_new_tokens: int, tools: str = ""
    ) -> EncodedPrompt:
        """The prompt for a conversation; see `chat_template.fit`. Raises `UserError`."""
        return chat_template.fit(self.tokenizer, turns, self.context, max_new_tokens, tools)

    def write(
        self,
        prompt: EncodedPrompt,
        sampling: Sampling,
        on_text: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> GeneratedText:
        """Generates one answer. `on_text` gets its whole characters as they come; `cancelled`
        is called after every token."""
        began = time.perf_counter()
        sent = 0
        finish: Finish = "length"

        def ended(made: list[int]) -> bool:
            nonlocal sent, finish
            text = _whole_characters(self._decode(made))
            if len(text) > sent:
                on_text(text[sent:])
                sent = len(text)
            if cancelled():
                finish = "cancelled"
            elif repeats(made):
                finish = "repetition"
            return finish != "length"

        if cancelled():
            return GeneratedText("", 0, 0.0, "cancelled")
        made = self._generate_one(prompt, sampling, ended)
        if made and made[-1] in self.stops:
            finish = "end"
        text = self._decode(made)
        if len(text) > sent:  # an incomplete character at the very end
            on_text(text[sent:])
        return GeneratedText(text, len(made), time.perf_counter() - began, finish)

    def write_many(
        self,
        prompts: Sequence[EncodedPrompt],
        between: Callable[[int], bool],
    ) -> list[str] | None:
        """Greedy answers in the order of their prompts, or None where `between` ended it.

        `between` is called with the number of finished answers after every token of a batch;
        it may use the model for something else meanwhile, and ends the work by giving True.
        """
        texts = [""] * len(prompts)
        finished, cancelled = 0, False

        def ended(done: int) -> bool:
            nonlocal cancelled
            cancelled = between(finished + done)
            return cancelled

        for rows in _batches(prompts):
            made = self._generate_many([prompts[row] for row in rows], ended)
            if cancelled:
                return None
            for row, ids in zip(rows, made, strict=True):
                texts[row] = self._decode(ids)
            finished += len(rows)
        return None if between(finished) else texts

    def _generate_one(
        self, prompt: EncodedPrompt, sampling: Sampling, ended: Callable[[list[int]], bool]
    ) -> list[int]:
        """The new tokens up to and with a stop token."""
        if self.decoder is not None and not self.decoder.suspended:
            choice = TokenChoice(sampling, self.model.device)
            return generate_one(
                self.decoder,
                self._conversation,
                prompt.input_ids,
                prompt.max_new_tokens,
                choice,
                self.stops,
                ended,
            )
        if sampling.seed is not None:
            torch.manual_seed(sampling.seed)
        start = len(prompt.input_ids)
        return self._transformers([prompt], sampling, lambda ids: ended(ids[0, start:].tolist()))[0]

    def _generate_many(
        self, prompts: Sequence[EncodedPrompt], ended: Callable[[int], bool]
    ) -> list[list[int]]:
        """Each row's greedy tokens up to and with its stop token, all of the same limit."""
        if self.decoder is not None and not self.decoder.suspended:
            ids = [prompt.input_ids for prompt in prompts]
            return generate_many(self.decoder, ids, prompts[0].max_new_tokens, self.stops, ended)
        return self._transformers(prompts, Sampling(), lambda _: ended(0))

    def _transformers(
        self,
        prompts: Sequence[EncodedPrompt],
        sampling: Sampling,
        ended: Callable[[torch.Tensor], bool],
    ) -> list[list[int]]:
        """The same by `generate` of transformers; rows are padded on the left."""
        rows = [prompt.input_ids for prompt in prompts]
        width = max(len(row) for row in rows)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        seen = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        config = GenerationConfig(
            max_new_tokens=prompts[0].max_new_tokens,
            pad_token_id=pad,
            eos_token_id=self.stops or None,
            **sampling.generate_arguments(),
        )
        made = self.model.generate(
            input_ids=ids.to(self.model.device),
            attention_mask=seen.to(self.model.device),
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([_AfterToken(ended)]),
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
    """The text without bytes at its end that may still become a character."""
    return text.rstrip("\ufffd")


def _base_sampling(config: GenerationConfig) -> Sampling:
    """What a base's generation configuration recommends."""
    penalty = config.repetition_penalty or 1.0
    if not config.do_sample:
        return Sampling(repetition_penalty=penalty)
    return Sampling(
        temperature=1.0 if config.temperature is None else config.temperature,
        top_p=config.top_p or 1.0,
        top_k=50 if config.top_k is None else config.top_k,  # 50 in transformers
        repetition_penalty=penalty,
    )


def _batches(prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
    """Groups of rows of similar length, so that little is padded, and of the same limit, so
    that no answer exceeds the context."""
    order = sorted(
        range(len(prompts)),
        key=lambda row: (prompts[row].max_new_tokens, len(prompts[row].input_ids)),
    )
    groups: list[list[int]] = []
    for row in order:
        limit = prompts[row].max_new_tokens
        most = min(BATCH_ANSWERS, max(1, BATCH_TOKENS // (len(prompts[row].input_ids) + limit)))
        last = groups[-1] if groups else []
        if last and len(last) < most and prompts[last[0]].max_new_tokens == limit:
            last.append(row)
        else:
            groups.append([row])
    return groups
