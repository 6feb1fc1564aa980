"""How the tokens of an answer are chosen, and why an answer ended."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tui_trainer.contracts.job import Quantization

# Its own end token, the limit of tokens, a cancel request, or endless repetition.
Finish = Literal["end", "length", "cancelled", "repetition"]

Temperature = Annotated[float, Meta(ge=0, description="of sampling; 0 is greedy")]
TopP = Annotated[
    float, Meta(gt=0, le=1, description="probability of the smallest set of tokens sampled from")
]
RepetitionPenalty = Annotated[
    float, Meta(gt=0, description="divides the logits of tokens that occurred before; 1 is off")
]


class BaseSampling(msgspec.Struct, frozen=True, kw_only=True):
    """Sampling that a base's generation configuration recommends."""

    temperature: Temperature = 0.0
    top_p: TopP = 1.0
    top_k: Annotated[int, Meta(ge=0)] = 0  # most probable tokens sampled from; 0 is all
    repetition_penalty: RepetitionPenalty = 1.0


class ChatSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[chat]` section: how the base is loaded, and how answers are generated."""

    quantization: Annotated[
        Quantization,
        Meta(
            description="of the base, from the next start of the chat on: none, or nf4 (4 bit; "
            "bitsandbytes)"
        ),
    ] = "none"

    sampling: Annotated[
        Literal["greedy", "base"],
        Meta(
            description="how tokens are chosen: greedy (the most probable), or base, by the "
            "base's own generation_config"
        ),
    ] = "greedy"
    temperature: Annotated[
        Temperature | None,
        Meta(description="temperature of sampling, 0 is greedy; left out: by chat.sampling"),
    ] = None
    top_p: Annotated[
        TopP | None,
        Meta(
            description="samples from the most probable tokens with this share of the "
            "probability; left out: by chat.sampling"
        ),
    ] = None
    repetition_penalty: Annotated[
        RepetitionPenalty | None,
        Meta(
            description="above 1: tokens that occurred before become less probable; left out: by "
            "chat.sampling"
        ),
    ] = None

    def resolved(self, base: BaseSampling) -> BaseSampling:
        """The sampling of an answer, given what the base recommends."""
        default = base if self.sampling == "base" else BaseSampling()
        return BaseSampling(
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            top_k=default.top_k,
            repetition_penalty=default.repetition_penalty
            if self.repetition_penalty is None
            else self.repetition_penalty,
        )
