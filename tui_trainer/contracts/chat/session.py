"""Events of a chat session, shown as lines of text, JSON lines or on a screen.

In JSON each has its `kind` as the first key.
"""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.chat.sampling import Finish
from tui_trainer.contracts.teaching.feedback import Rating
from tui_trainer.contracts.teaching.training import TrainingRecord


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    pass


class Token(_Event, frozen=True, kw_only=True, tag="token"):
    """The next part of the answer that is being generated."""

    text: str  # complete characters only


class Answered(_Event, frozen=True, kw_only=True, tag="answer"):
    """A complete answer."""

    query: str  # the user's question
    response: str  # the model's answer
    adapter: str | None  # active adapter: None (the base alone), a name, or "a=0.7 b=0.3"
    tokens: int = 0  # generated
    seconds: float = 0.0  # that generating took
    cancelled: bool = False  # whether the user cut it short
    finish: Finish = "end"  # why it ended


class Rated(_Event, frozen=True, kw_only=True, tag="rated"):
    """A rating or correction is on disk."""

    example: str  # id of the example
    number: int  # of the example in the list, from 1
    rating: Rating  # good, medium or critical
    weight: float  # of the example in the loss
    question: str  # that was answered
    taught: str | None  # the right answer; None while it is missing
    note: str = ""  # the user's remark
    replaced: bool = False  # whether it replaces an earlier rating of the same answer


class NeedsCorrection(_Event, frozen=True, kw_only=True, tag="needs_correction"):
    """A rated answer is not trained on until the user gives the right one."""

    example: str  # id of the example
    number: int  # of the example in the list, from 1
    question: str  # that was answered
    answer: str  # the model's answer


class Flagged(_Event, frozen=True, kw_only=True, tag="flagged"):
    """A rating was not stored, as its text seems to contain secrets; `/keep` stores it."""

    found: list[str]  # what was found, such as "AWS key"
    question: str  # that was answered


class Revision(_Event, frozen=True, kw_only=True, tag="revision"):
    """The model's second answer to a question; `/accept` makes it the right answer."""

    question: str  # that was asked again
    before: str  # the first answer
    text: str  # the second answer


class EditRequest(_Event, frozen=True, kw_only=True, tag="edit_request"):
    """An editor is to be opened; the edited text goes to `ChatSession.edited`."""

    example: str | None  # id of the example; None: the newest answer
    question: str  # that was answered
    text: str  # to edit


class BufferStatus(_Event, frozen=True, kw_only=True, tag="buffer"):
    """The examples that the next training will use, and when it starts."""

    count: int  # examples with a right answer
    threshold: int  # count that starts a training; 0 is off
    weight: float  # sum of their weights in the loss
    weight_threshold: float  # sum of weights that starts a training; 0 is off
    needs_correction: int  # further examples, which have no right answer yet


class TrainingStatus(_Event, frozen=True, kw_only=True, tag="training"):
    """The state or the step of a training changed."""

    record: TrainingRecord  # of the training


class AdaptersActivated(_Event, frozen=True, kw_only=True, tag="live"):
    """The active adapters were replaced."""

    adapters: dict[str, float]  # weight by name; empty: the base alone


class TextTable(_Event, frozen=True, kw_only=True, tag="table"):
    """The table that a command prints."""

    title: str  # above the table
    headers: list[str]  # of the columns
    rows: list[list[str]]  # cells, by row


class Confirm(_Event, frozen=True, kw_only=True, tag="confirm"):
    """A command needs confirmation: `/yes` executes it, anything else cancels it."""

    text: str  # the question


class SessionNotice(_Event, frozen=True, kw_only=True, tag="notice"):
    """A message for the user."""

    text: str  # one or more lines


class SessionError(_Event, frozen=True, kw_only=True, tag="error"):
    """A command or a background task failed."""

    text: str  # the reason, one sentence
    command: str = ""  # the line that was typed; empty for a background task


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
