"""Greedy answers to fixed prompts by a model that is being trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.samples import SampleFinish
from tui_trainer.models import chat_template
from tui_trainer.models.chat_template import EncodedPrompt
from tui_trainer.models.kernels import packed_attention

_AT_ONCE = 8  # prompts in one batch


class _Question(NamedTuple):
    """The only turn of a conversation with a sample prompt."""

    content: str
    role: str = "user"


@dataclass(frozen=True)
class SamplePrompts:
    """Prompts ready to be answered."""

    texts: tuple[str, ...]
    encoded: tuple[EncodedPrompt, ...]  # of the same length as `texts`
    stops: tuple[int, ...]  # tokens that end an answer


@dataclass(frozen=True)
class SampleAnswer:
    """An answer to a prompt."""

    text: str  # without special tokens
    tokens: int  # with the end token
    finish: SampleFinish


def encode_prompts(
    causal: Any, tokenizer: Any, prompts: Sequence[str], max_new_tokens: int
) -> SamplePrompts:
    """Return prompts as tokens, in the base's chat template. Raises `UserError` for a prompt that
    is longer than the base's context."""
    context = chat_template.context_length(causal.config)
    encoded = []
    for number, prompt in enumerate(prompts, start=1):
        try:
            turns = [_Question(prompt)]
            encoded.append(chat_template.fit(tokenizer, turns, context, max_new_tokens))
        except UserError as error:
            raise UserError(f"samples.prompts, prompt {number}: {error}") from error
    stops = chat_template.stop_tokens(causal, tokenizer)
    return SamplePrompts(tuple(prompts), tuple(encoded), tuple(stops))


def answer_all(model: Any, tokenizer: Any, prompts: SamplePrompts) -> list[SampleAnswer]:
    """Return the most probable answer to every prompt, token by token.

    `model` is the base with its adapter (PeftModel); its mode (training or evaluation) is the same
    afterwards. Draws no random numbers.
    """
    causal = model.get_base_model()
    training, own = model.training, causal.generation_config
    # The base's own defaults (sampling, penalties) would change greedy answers.
    causal.generation_config = GenerationConfig()
    model.eval()
    answers: list[SampleAnswer] = []
    try:
        with torch.no_grad(), packed_attention.without(causal):
            for start in range(0, len(prompts.encoded), _AT_ONCE):
                group = prompts.encoded[start : start + _AT_ONCE]
                answers += _answer_batch(causal, tokenizer, group, prompts.stops)
    finally:
        causal.generation_config = own
        model.train(training)
    return answers


def _answer_batch(
    causal: Any, tokenizer: Any, prompts: Sequence[EncodedPrompt], stops: Sequence[int]
) -> list[SampleAnswer]:
    """Answer some prompts at once; rows are padded on the left."""
    pad = tokenizer.pad_token_id or 0
    width = max(len(prompt.input_ids) for prompt in prompts)
    lacking = [width - len(prompt.input_ids) for prompt in prompts]
    ids = [[pad] * n + p.input_ids for n, p in zip(lacking, prompts, strict=True)]
    mask = [[0] * n + [1] * len(p.input_ids) for n, p in zip(lacking, prompts, strict=True)]
    config = GenerationConfig(
        max_new_tokens=min(prompt.max_new_tokens for prompt in prompts),
        do_sample=False,
        use_cache=True,
        pad_token_id=pad,
        eos_token_id=list(stops) or None,
    )
    made = causal.generate(
        input_ids=torch.tensor(ids, device=causal.device),
        attention_mask=torch.tensor(mask, device=causal.device),
        generation_config=config,
    )
    return [_decoded(tokenizer, row, stops) for row in made[:, width:].tolist()]


def _decoded(tokenizer: Any, ids: list[int], stops: Sequence[int]) -> SampleAnswer:
    """Return the text of an answer's tokens, which end with the first stop token."""
    end = next((at for at, token in enumerate(ids) if token in stops), None)
    text: str = tokenizer.decode(
        ids[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    if end is None:
        return SampleAnswer(text, len(ids), "length")
    return SampleAnswer(text, end + 1, "end")
