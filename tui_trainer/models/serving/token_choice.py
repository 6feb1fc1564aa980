"""How the next token is chosen from the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class Sampling:
    """Settings of the choice.

    temperature: 0 takes the most probable token (greedy); otherwise one is drawn.
    top_p: draws from the smallest set of tokens with this share of the probability.
    top_k: draws from so many most probable tokens; 0 is all.
    repetition_penalty: divides the logits of tokens that occurred before; 1 is off.
    seed: of the random numbers; None for others each time.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None

    def generate_arguments(self) -> dict[str, Any]:
        """The same settings for `generate` of transformers."""
        arguments: dict[str, Any] = {
            "do_sample": self.temperature > 0,
            "repetition_penalty": self.repetition_penalty,
        }
        if self.temperature > 0:
            arguments |= {
                "temperature": self.temperature,
                "top_p": self.top_p,
                "top_k": self.top_k,
            }
        return arguments


class TokenChoice:
    """Chooses tokens one after the other, with the processors of transformers in its order."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self._draws = sampling.temperature > 0
        self._processors = LogitsProcessorList()
        if sampling.repetition_penalty != 1:
            self._processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        if self._draws:
            self._processors.append(TemperatureLogitsWarper(sampling.temperature))
            if sampling.top_k > 0:
                self._processors.append(TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1:
                self._processors.append(TopPLogitsWarper(sampling.top_p))
        self._random = torch.Generator(device)
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    @property
    def greedy(self) -> bool:
        """Whether it always takes the token with the largest logit."""
        return not self._draws and not self._processors

    def choose(self, logits: torch.Tensor, ids: Sequence[int]) -> int:
        """The next token from `logits` (1, vocabulary), after the tokens `ids`."""
        if self.greedy:
            return int(logits.argmax())
        before: Any = torch.tensor([list(ids)], device=logits.device)
        scores: Any = logits.float()
        scores = self._processors(before, scores)
        if not self._draws:
            return int(scores.argmax())
        return int(torch.multinomial(scores.softmax(-1), 1, generator=self._random))
