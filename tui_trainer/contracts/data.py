"""What was found in a job's data before training, and what was done about it."""

from __future__ import annotations

import msgspec

SCHEMA = 1
MOST_PLACES = 3  # that are named for each reason or field
MOST_COLUMNS = 50  # whose names are kept


class LeftOutRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that cannot be taught rightly for one `reason`: how many, and where the first ones are
    (`train.jsonl line 12`)."""

    reason: str  # why they cannot be used
    rows: int  # how many
    where: list[str] = msgspec.field(default_factory=list)  # the first ones: `FILE line N`

    def why(self) -> str:
        """`REASON (train.jsonl line 12, …)`."""
        return f"{self.reason}{_places(self.rows, self.where)}"


class UnusedField(msgspec.Struct, frozen=True, kw_only=True):
    """A field whose name has a meaning, but not in rows of this shape: in how many rows it holds
    something, and where the first ones are."""

    field: str  # its name
    rows: int  # in which it holds something
    where: list[str] = msgspec.field(default_factory=list)  # the first ones: `FILE line N`

    def text(self) -> str:
        """`'context' in 5 rows (train.jsonl line 1, …)`."""
        count = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        return f"{self.field!r} in {count}{_places(self.rows, self.where)}"


def _places(count: int, first: list[str]) -> str:
    more = ", …" if count > len(first) else ""
    return f" ({', '.join(first)}{more})" if first else ""


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """One part's rows, without those that were dropped, taken out or held out, and with those
    that a model wrote.

    `left_out`: rows that cannot be taught rightly, by reason; `empty` are those without text or
    answer among them (older records have only this count). `unused`: known fields that rows of
    their shape have no use for; `columns`: the names of other fields that hold something, and
    `more_columns` how many more there are. `cut`: over the length limit, shortened.
    `unanswered`: nothing learned was left within the limit, left out. `examples` is what
    remains; `tokens` counts it after cutting, `learned` those that count in the loss, `longest`
    the tokens of the longest.
    """

    rows: int = 0  # read
    empty: int = 0  # without text or answer
    cut: int = 0  # shortened to the length limit
    unanswered: int = 0  # left out: nothing to learn within the limit
    examples: int = 0  # that remain
    tokens: int = 0  # of the examples, after cutting
    learned: int = 0  # tokens that count in the loss
    longest: int = 0  # tokens of the longest example
    left_out: list[LeftOutRows] = msgspec.field(default_factory=list)  # by reason
    unused: list[UnusedField] = msgspec.field(default_factory=list)  # known fields without use here
    columns: list[str] = msgspec.field(default_factory=list)  # names of other fields
    more_columns: int = 0  # further ones

    def columns_text(self, most: int = MOST_COLUMNS) -> str:
        """The names of `columns` in a line, `most` of them at most."""
        named = self.columns[:most]
        others = len(self.columns) - len(named) + self.more_columns
        return f"{', '.join(named)}{f' and {others:,} more' if others else ''}"

    def reasons(self) -> list[LeftOutRows]:
        """`left_out`, also of a record that has only `empty`."""
        if self.left_out or not self.empty:
            return self.left_out
        return [LeftOutRows(reason="empty", rows=self.empty)]


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that say again what an earlier training row says.

    `exact` are the same but for white space, `near` are much alike (`method` says how that was
    judged; it was not looked for where `near` is None), `dropped` were taken out of training.
    `shared` and `shared_near` are validation rows that training has too; `removed` of them were
    taken out of validation. `contradicting` are texts that carry more than one label.
    """

    exact: int = 0  # rows
    near: int | None = 0  # rows; None: not looked for
    dropped: int = 0  # rows taken out of training
    shared: int = 0  # validation rows
    shared_near: int | None = 0  # validation rows; None: not looked for
    removed: int = 0  # rows taken out of validation
    contradicting: int = 0  # texts with several labels
    method: str = ""  # how `near` was judged


class LabelReport(msgspec.Struct, frozen=True, kw_only=True):
    """A class: its training and validation examples, how often training examples are repeated
    to balance it in the mean, and what an example counts in the loss."""

    label: str  # of the class
    train: int  # training examples
    validation: int  # validation examples
    copies: float = 1.0  # of each training example, mean
    weight: float = 1.0  # in the loss


class AugmentReport(msgspec.Struct, frozen=True, kw_only=True):
    """Rows rewritten by a model before training: `asked` for, `added` to training; the others
    were thrown away. `seconds` is what writing them took, now or when they were first made
    (`cached`)."""

    method: str  # how rows were rewritten
    model: str  # that wrote them
    asked: int  # rows
    added: int  # rows
    seconds: float  # of writing them
    cached: bool = False  # whether they were written before


class DataReport(msgspec.Struct, frozen=True, kw_only=True):
    """`data.json` of a run folder. `fingerprint` is a SHA-256 over every example of every part
    in its order: a resumed run must find the same."""

    schema: int = SCHEMA  # version of the file's format
    train: PartReport  # training data
    validation: PartReport  # validation data
    replay: PartReport  # rows mixed in against forgetting
    # Rows on which the base's predictions are kept.
    retain: PartReport = msgspec.field(default_factory=PartReport)
    repeats: Repeats = msgspec.field(default_factory=Repeats)  # duplicate rows
    labels: list[LabelReport] = msgspec.field(default_factory=list)  # of a classification
    fingerprint: str = ""  # SHA-256, hexadecimal
    augmented: AugmentReport | None = None  # rows written by a model
