"""What a user says of answers, and what is to be taught from it."""

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
    """A rated answer.

    `turns` is the conversation up to and including the question; `answer` what the model said,
    with `adapter` (its name, or None for the base alone). `correction` is the right answer as
    the user gave or accepted it. `flags` names what looks like a secret, one word each.
    `trained_in` is the adapter that learned it and went live, `dropped` that the user took it
    back. `base_hash` says which base was asked.
    """

    id: str  # of this example
    time: float  # of the rating, seconds since the epoch
    turns: list[Turn]  # up to and including the question
    answer: str  # what the model answered
    rating: Rating  # how good the answer was
    note: str = ""  # the user's remark
    correction: str | None = None  # the right answer, if one was given
    flags: list[str] = msgspec.field(default_factory=list)  # what looks like a secret, a word each
    adapter: str | None = None  # that answered; None: the base alone
    base_model: str = "builtin"  # base that answered: "builtin" or a folder
    base_hash: str | None = None  # SHA-256 of that base's files
    trained_in: str | None = None  # adapter that was trained on it and went live
    dropped: bool = False  # whether the user took it back

    @property
    def question(self) -> str:
        """The last turn's text."""
        return self.turns[-1].content if self.turns else ""

    @property
    def right_answer(self) -> str | None:
        """What is taught: the correction, or a good answer itself; None while neither is there.

        A bad answer is never taught.
        """
        if self.correction is not None:
            return self.correction
        return self.answer if self.rating == "good" else None

    @property
    def weight(self) -> float:
        """How much it counts in the loss."""
        return WEIGHTS[self.rating]

    @property
    def pending(self) -> bool:
        """Whether the next training takes it."""
        return not self.dropped and self.trained_in is None and self.right_answer is not None

    @property
    def needs_correction(self) -> bool:
        """Whether it waits for a right answer."""
        return not self.dropped and self.trained_in is None and self.right_answer is None
