"""Lines of the feedback journal, and the examples that result from them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.teaching.feedback import RatedExample, Rating
from tui_trainer.store import jsonl
from tui_trainer.store.jsonl import BadJsonLine


class LogEntry(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """A line of the journal."""

    time: float  # seconds since the epoch


class AddEntry(LogEntry, frozen=True, kw_only=True, tag="add"):
    """An answer was rated."""

    example: RatedExample  # as rated


class EditEntry(LogEntry, frozen=True, kw_only=True, tag="edit"):
    """Fields of an example were changed; None: not changed."""

    id: str  # of the example
    correction: str | None = None  # the right answer
    note: str | None = None  # the user's remark
    rating: Rating | None = None  # good, medium or critical
    flags: list[str] | None = None  # kinds of secrets it seems to contain


class DropEntry(LogEntry, frozen=True, kw_only=True, tag="drop"):
    """The user withdrew a rating."""

    id: str  # of the example


class TrainedEntry(LogEntry, frozen=True, kw_only=True, tag="trained"):
    """An adapter was trained on examples and activated."""

    ids: list[str]  # of the examples
    adapter: str  # name of the adapter


Line = AddEntry | EditEntry | DropEntry | TrainedEntry


def fold(file: Path) -> tuple[dict[str, RatedExample], list[BadJsonLine], int]:
    """The examples by id after all lines, the first unreadable lines, and how many are unreadable.

    An incomplete last line, which another process may be writing, is ignored. Raises `OSError`.
    """
    known: dict[str, RatedExample] = {}
    lines = jsonl.read_records(file, Line, last=False)
    for line in lines.records:
        _apply(known, line)
    return known, lines.bad, lines.bad_count


def without(data: bytes, gone: set[str]) -> bytes:
    """The journal without the lines that are only about the examples in `gone`."""
    lines = (line.data for line in jsonl.split_lines(data))
    return b"".join(line + b"\n" for line in lines if not _concerns_only(line, gone))


def _apply(known: dict[str, RatedExample], line: Line) -> None:
    if isinstance(line, AddEntry):
        known.setdefault(line.example.id, line.example)
    elif isinstance(line, TrainedEntry):
        for example_id in line.ids:
            example = known.get(example_id)
            if example is not None and example.trained_in is None:
                known[example_id] = msgspec.structs.replace(example, trained_in=line.adapter)
    elif line.id in known:
        known[line.id] = _changed(known[line.id], line)


def _changed(example: RatedExample, line: EditEntry | DropEntry) -> RatedExample:
    if isinstance(line, DropEntry):
        return msgspec.structs.replace(example, dropped=True)
    names = ("correction", "note", "rating", "flags")
    changes = {name: getattr(line, name) for name in names if getattr(line, name) is not None}
    after = msgspec.structs.replace(example, **changes)
    if after.right_answer != example.right_answer:  # it was trained on another answer
        return msgspec.structs.replace(after, trained_in=None)
    return after


def _concerns_only(line: bytes, gone: set[str]) -> bool:
    try:
        entry = msgspec.json.decode(line, type=Line)
    except BAD_CONTENT:
        return False
    if isinstance(entry, TrainedEntry):
        return set(entry.ids) <= gone
    return (entry.example.id if isinstance(entry, AddEntry) else entry.id) in gone
