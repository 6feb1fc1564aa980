"""What happens in a chat session, for whatever shows it: lines, JSON, or a screen.

In JSON each has its `kind` first.
"""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.feedback import Rating
from tui_trainer.contracts.sampling import Finish
from tui_trainer.contracts.teaching import TrainingRecord


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    pass


class Token(_Event, frozen=True, kw_only=True, tag="token"):
    """The next whole characters of the answer under way."""

    text: str


class Answered(_Event, frozen=True, kw_only=True, tag="answer"):
    """An answer: `adapter` is None for the base alone, a name, or "a=0.7 b=0.3"; `tokens` were
    generated in `seconds`. One that was cancelled is cut off."""

    query: str
    response: str
    adapter: str | None
    tokens: int = 0
    seconds: float = 0.0
    cancelled: bool = False
    finish: Finish = "end"  # why it ended


class Rated(_Event, frozen=True, kw_only=True, tag="rated"):
    """A rating or correction is on disk. `number` is the example's in the list; `taught` the
    right answer, None where one is still missing; `replaced` tells that it was rated before."""

    example: str
    number: int
    rating: Rating
    weight: float
    question: str
    taught: str | None
    note: str = ""
    replaced: bool = False


class NeedsCorrection(_Event, frozen=True, kw_only=True, tag="needs_correction"):
    """A rated answer waits for the right one and is not taught until then."""

    example: str
    number: int
    question: str
    answer: str


class Flagged(_Event, frozen=True, kw_only=True, tag="flagged"):
    """It looks as if it held secrets (`found`, a few words each): nothing was stored; `/keep`
    stores it all the same."""

    found: list[str]
    question: str


class Revision(_Event, frozen=True, kw_only=True, tag="revision"):
    """What the model says now instead of `before`; `/accept` takes it as the right answer."""

    question: str
    before: str
    text: str


class EditRequest(_Event, frozen=True, kw_only=True, tag="edit_request"):
    """An editor is to be opened on `text`; what comes of it goes to `ChatSession.edited`."""

    example: str | None
    question: str
    text: str


class BufferStatus(_Event, frozen=True, kw_only=True, tag="buffer"):
    """How far the waiting examples are from the next training; a threshold of 0 is off."""

    count: int
    threshold: int
    weight: float
    weight_threshold: float
    needs_correction: int


class TrainingStatus(_Event, frozen=True, kw_only=True, tag="training"):
    """A training has come on."""

    record: TrainingRecord


class AdaptersActivated(_Event, frozen=True, kw_only=True, tag="live"):
    """These adapters (name -> weight) answer from now on; none is the base alone."""

    adapters: dict[str, float]


class TextTable(_Event, frozen=True, kw_only=True, tag="table"):
    """Rows of text that were asked for."""

    title: str
    headers: list[str]
    rows: list[list[str]]


class Confirm(_Event, frozen=True, kw_only=True, tag="confirm"):
    """`/yes` does it; anything else leaves it."""

    text: str


class SessionNotice(_Event, frozen=True, kw_only=True, tag="notice"):
    """Words for the user."""

    text: str


class SessionError(_Event, frozen=True, kw_only=True, tag="error"):
    """Why something was not done. `command` is the line that asked for it, empty where nobody
    did."""

    text: str
    command: str = ""


Event = (
    Token
    | Answered
    | Rated
    | NeedsCorrection
    | Flagged
    | Revision
    | EditRequest
    | BufferStatus
    | TrainingStatus
    | AdaptersActivated
    | TextTable
    | Confirm
    | SessionNotice
    | SessionError
)
