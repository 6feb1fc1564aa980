"""What a look at a job's data shows before training: its report, lengths, and single rows."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.data_report import DataReport


class InspectionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which data to look at, and which of its rows to show."""

    job: Job  # resolved; of the base only the tokenizer is loaded
    rows: Annotated[int, Meta(ge=0)] = 3  # to show: the first, the longest, and random ones
    row: int | None = None  # show the rows with this number in their files instead
    # Take the task from the fields of the first row instead of from the job.
    find_task: bool = False


class TextPiece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a row's text: one token, or the few tokens that share a character."""

    text: str
    tokens: int = 1
    learned: bool = False  # whether it counts in the loss
    special: bool = False  # a special token, such as the end of a turn


class InspectedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One example as the model sees it."""

    where: str  # its file and line: `train.jsonl line 12`
    chosen: str  # why it is shown: first, longest, random, asked
    part: str  # training, validation, replay, retain or null space
    tokens: int  # within data.max_length
    full_tokens: int  # before it was cut to data.max_length
    learned: int  # tokens that count in the loss; 0 for a classification
    weight: float  # factor of its loss
    label: str | None = None  # the class to predict, in a classification
    pieces: list[TextPiece] = msgspec.field(default_factory=list)  # its text, in order
    omitted: int = 0  # tokens in the middle that `pieces` leaves out, as the row is very long
    omitted_at: int = 0  # index in `pieces` of the first piece after them


class LengthBin(msgspec.Struct, frozen=True, kw_only=True):
    """Training examples whose number of tokens is in a range."""

    first: int  # fewest tokens
    last: int  # most tokens
    examples: int


class DroppedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is left out because no answer remains within data.max_length."""

    where: str  # its file and line
    tokens: int  # of the whole row


class DataInspection(msgspec.Struct, frozen=True, kw_only=True, tag="inspection"):
    """The result."""

    model: str  # whose tokenizer was used
    task: str
    max_length: int  # data.max_length of the job
    report: DataReport
    summary: str  # the report in a sentence
    notices: list[str]  # a sentence for every problem in the data and every change made to it
    lengths: list[LengthBin]  # of the training examples before they are cut
    median: int  # tokens of the training examples before they are cut
    longest: int
    too_long: int = 0  # training rows with more than `max_length` tokens: cut or left out
    unanswered: list[DroppedRow] = msgspec.field(default_factory=list)  # the first of them
    rows: list[InspectedRow] = msgspec.field(default_factory=list)


class InspectionProgress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """What the process does now."""

    message: str


InspectionEvent = DataInspection | InspectionProgress
