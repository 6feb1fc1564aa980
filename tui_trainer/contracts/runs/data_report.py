"""The report on a job's data, made before training."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tui_trainer.text import formats

SCHEMA = 1
MOST_LOCATIONS = 3  # rows that are named for each reason or field
MOST_COLUMNS = 50  # names of unknown fields that are kept


class LeftOutRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that are left out of training for the same reason."""

    reason: str  # why they cannot be used
    rows: int  # how many
    where: list[str] = msgspec.field(default_factory=list)  # the first of them: `FILE line N`

    def text(self) -> str:
        """`REASON (train.jsonl line 12, …)`."""
        return f"{self.reason}{_locations(self.rows, self.where)}"


class UnusedField(msgspec.Struct, frozen=True, kw_only=True):
    """A field with a known name that rows of this shape do not use."""

    field: str  # name of the field
    rows: int  # in which it is not empty
    where: list[str] = msgspec.field(default_factory=list)  # the first of them: `FILE line N`

    def text(self) -> str:
        """`'context' in 5 rows (train.jsonl line 1, …)`."""
        rows = formats.plural(self.rows, "row")
        return f"{self.field!r} in {rows}{_locations(self.rows, self.where)}"


def _locations(count: int, first: list[str]) -> str:
    more = ", …" if count > len(first) else ""
    return f" ({', '.join(first)}{more})" if first else ""


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and examples of one part of the data: training, validation or replay.

    Rows that were dropped as duplicates or held out for validation are not counted, rows that a
    model wrote are. Rows of a source with a weight count as often as they are used.
    """

    rows: int = 0  # read
    empty: int = 0  # without text or answer; also in `left_out` (older records have only this)
    cut: int = 0  # shortened to the length limit
    unanswered: int = 0  # left out: nothing to learn within the length limit
    examples: int = 0  # remaining
    tokens: int = 0  # of the examples, after cutting
    learned: int = 0  # tokens that count in the loss
    longest: int = 0  # tokens of the longest example
    shapes: dict[str, int] = {}  # rows by recognised shape
    left_out: list[LeftOutRows] = msgspec.field(default_factory=list)  # by reason
    unused: list[UnusedField] = msgspec.field(default_factory=list)  # known fields, not used here
    columns: list[str] = msgspec.field(default_factory=list)  # unknown fields that are not empty
    more_columns: int = 0  # further unknown fields, whose names are not kept

    def columns_text(self, most: int = MOST_COLUMNS) -> str:
        """The names in `columns` on one line, at most `most` of them."""
        named = self.columns[:most]
        others = len(self.columns) - len(named) + self.more_columns
        return f"{', '.join(named)}{f' and {formats.count(others)} more' if others else ''}"

    def reasons(self) -> list[LeftOutRows]:
        """`left_out`, made from `empty` for a record that has only that."""
        if self.left_out or not self.empty:
            return self.left_out
        return [LeftOutRows(reason="empty", rows=self.empty)]


class PartLeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of one part of the data that would be left out, more than the job allows."""

    part: str  # training or validation
    rows: int  # of the part
    left_out: int  # of them
    reasons: list[LeftOutRows]  # the first of them, each with its number of rows

    def text(self, reason: Callable[[LeftOutRows], str]) -> str:
        """`29 of 100 training rows (29 %) would be left out: 29 × REASON`."""
        rows = formats.plural(self.rows, f"{self.part} row")
        share = self.left_out / self.rows
        per_cent = formats.share(share) if share >= 0.01 else f"{100 * share:.1g} %"
        named = [f"{formats.count(item.rows)} × {reason(item)}" for item in self.reasons]
        others = self.left_out - sum(item.rows for item in self.reasons)
        named += [f"{formats.count(others)} × other reasons"] if others else []
        start = f"{formats.count(self.left_out)} of {rows} ({per_cent}) would be left out"
        return f"{start}: {'; '.join(named)}"


class TooManyLeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run is refused: larger shares of its rows would be left out than the job allows. In
    the detail of the event of kind `error`, as `left_out`."""

    parts: list[PartLeftOut]
    allow_dropped: float  # a value of data.allow_dropped that is enough for all parts

    def message(self) -> str:
        """The refusal, with the first rows and the setting that allows it."""
        parts = "; ".join(part.text(LeftOutRows.text) for part in self.parts)
        return (
            f"{parts}; mend them, or allow it with data.allow_dropped = {self.allow_dropped:g} "
            f"(--set data.allow_dropped={self.allow_dropped:g})"
        )

    def summary(self) -> str:
        """The counts and reasons, without the rows."""
        return "; ".join(part.text(lambda item: item.reason) for part in self.parts)


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """Duplicate rows, compared with all earlier training rows."""

    exact: int = 0  # training rows that differ in white space at most
    near: int | None = 0  # similar training rows; None: not searched for
    dropped: int = 0  # rows removed from training
    shared: int = 0  # validation rows that training has, too
    shared_near: int | None = 0  # validation rows similar to a training row; None: not searched for
    removed: int = 0  # rows removed from validation
    contradicting: int = 0  # texts with more than one label
    method: str = ""  # how similarity was measured


class LabelReport(msgspec.Struct, frozen=True, kw_only=True):
    """The examples of one class, and how rare classes are balanced."""

    label: str  # of the class
    train: int  # training examples
    validation: int  # validation examples
    copies: float = 1.0  # mean number of times that a training example is used per epoch
    weight: float = 1.0  # of a training example in the loss


class AugmentReport(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that a model rewrote before training."""

    method: str  # synonym, paraphrase or back-translation
    model: str  # that rewrote them
    asked: int  # rows given to the model
    added: int  # rewritten rows added to training; the others were discarded
    seconds: float  # that rewriting took when it was done
    cached: bool = False  # whether the rows come from the cache


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """Training rows of the sources that have the same weight, if that is not 1."""

    files: list[str]  # names of the first of them
    more_files: int = 0  # further ones, whose names are not kept
    weight: float  # how often a row is used in an epoch, on average
    rows: int  # usable ones, after duplicates were dropped and validation rows held out
    used: int  # rows in an epoch, copies included


class DataReport(msgspec.Struct, frozen=True, kw_only=True):
    """`data.json` of a run folder."""

    schema: int = SCHEMA  # version of the file's format
    train: PartReport  # training data
    validation: PartReport  # validation data
    replay: PartReport  # rows mixed into every step against forgetting
    # Rows on which the base's predictions are kept.
    retain: PartReport = msgspec.field(default_factory=PartReport)
    # Rows whose strongest input directions the adapter does not read.
    null_space: PartReport = msgspec.field(default_factory=PartReport)
    repeats: Repeats = msgspec.field(default_factory=Repeats)  # duplicate rows
    labels: list[LabelReport] = msgspec.field(default_factory=list)  # classes of a classifier
    # SHA-256 over every example of every part, in order; a resumed run must have the same.
    fingerprint: str = ""
    sources: list[SourceReport] = msgspec.field(default_factory=list)  # those with a weight
    augmented: AugmentReport | None = None  # rows that a model rewrote; None without them
