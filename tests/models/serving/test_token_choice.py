"""Tokens are chosen as `generate` of transformers chooses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.models import base_model
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.models.serving.token_choice import Sampling, TokenChoice

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def generator(qwen2_base: Path) -> TextGenerator:
    model = base_model.load_base(str(qwen2_base), CPU, torch.float32)
    return TextGenerator(model, base_model.load_tokenizer(str(qwen2_base)))


def drawn(sampling: Sampling, logits: torch.Tensor, count: int = 300) -> set[int]:
    choice = TokenChoice(sampling, CPU)
    return {choice.choose(logits, [0]) for _ in range(count)}


def test_top_k_and_top_p_restrict_what_is_drawn() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    assert drawn(Sampling(temperature=1.0, seed=1), logits) == {0, 1, 2, 3}
    assert drawn(Sampling(temperature=1.0, top_k=2, seed=1), logits) == {0, 1}
    assert drawn(Sampling(temperature=1.0, top_p=0.7, seed=1), logits) == {0, 1}
    assert drawn(Sampling(temperature=0.01, seed=1), logits) == {0}


def test_a_seed_repeats_the_draws_and_none_does_not() -> None:
    logits = torch.zeros(1, 1000)

    def draws(seed: int | None) -> list[int]:
        choice = TokenChoice(Sampling(temperature=1.0, seed=seed), CPU)
        return [choice.choose(logits, [0]) for _ in range(5)]

    assert draws(3) == draws(3) != draws(4)
    assert draws(None) != draws(None)


@pytest.mark.parametrize("penalty", [1.3, 2.5])
def test_a_repetition_penalty_acts_as_in_transformers(
    generator: TextGenerator, penalty: float
) -> None:
    prompt = generator.fit([Turn("user", "the cat the cat the cat")], 30)
    assert generator.decoder is not None

    def answer(sampling: Sampling) -> Any:
        return generator.write(prompt, sampling, lambda _: None, lambda: False)

    ours = answer(Sampling(repetition_penalty=penalty))
    assert ours.text != answer(Sampling()).text
    generator.decoder.suspended = True
    try:
        wanted = answer(Sampling(repetition_penalty=penalty))
    finally:
        generator.decoder.suspended = False
    assert (ours.text, ours.tokens) == (wanted.text, wanted.tokens)
