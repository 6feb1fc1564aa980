"""Rated answers, and the examples to train on that follow from them."""

from __future__ import annotations

from typing import Literal

import msgspec

Rating = Literal["good", "medium", "critical"]
Role = Literal["system", "user", "assistant"]

# How much an example counts in the loss, by rating.
WEIGHTS: dict[Rating, float] = {"good": 1.0, "medium": 3.0, "critical": 10.0}


class Turn(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Role  # who wrote it
    content: str  # its text


class RatedExample(msgspec.Struct, frozen=True, kw_only=True):
    """A rated answer, and the right one if it is known."""

    id: str  # of this example
    time: float  # of the rating, seconds since the epoch
    turns: list[Turn]  # of the conversation, up to and including the question
    answer: str  # the model's answer
    rating: Rating  # good, medium or critical
    note: str = ""  # the user's remark
    correction: str | None = None  # the right answer as the user gave or accepted it
    flags: list[str] = msgspec.field(default_factory=list)  # kinds of secrets it seems to contain
    adapter: str | None = None  # that was active for the answer; None: the base alone
    base_model: str = "builtin"  # base that answered: "builtin" or a folder
    base_hash: str | None = None  # SHA-256 of that base's files
    trained_in: str | None = None  # adapter that was trained on it and activated
    dropped: bool = False  # whether the user withdrew the rating

    @property
    def question(self) -> str:
        """Text of the last turn."""
        return self.turns[-1].content if self.turns else ""

    @property
    def right_answer(self) -> str | None:
        """The answer to train on: the correction, or an answer rated good; None without either.

        A bad answer is never trained on.
        """
        if self.correction is not None:
            return self.correction
        return self.answer if self.rating == "good" else None

    @property
    def weight(self) -> float:
        """Weight of the example in the loss."""
        return WEIGHTS[self.rating]

    @property
    def pending(self) -> bool:
        """Whether the next training uses it."""
        return not self.dropped and self.trained_in is None and self.right_answer is not None

    @property
    def needs_correction(self) -> bool:
        """Whether its right answer is missing."""
        return not self.dropped and self.trained_in is None and self.right_answer is None
