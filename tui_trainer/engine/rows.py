"""Rows of data files as conversations, recognised by their fields."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError, reason_of

# (question field, answer field), tried in this order; `instruction` may have an `input` too.
PAIRS = (
    ("instruction", "output"),
    ("prompt", "completion"),
    ("question", "answer"),
    ("query", "response"),
)
LABELS = ("label", "category")
ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Message:
    """One turn; an answer that is not `learned` is only there to be read."""

    role: str
    content: str
    learned: bool = True


@dataclass(frozen=True)
class Row:
    """One example: a conversation whose assistant turns are learned (but those with a weight
    of 0), or plain text that is learned whole, or a text whose `label` is learned. `weight`
    counts it that many times; `where` is its file and line."""

    messages: tuple[Message, ...]
    text: str | None
    weight: float
    where: str
    label: str | None = None

    def content(self, *, own: bool = False) -> str:
        """All that the row says but its label, with the roles; `own` leaves out what many rows
        may have in common, the system's turns."""
        if self.text is not None:
            return self.text
        turns = (t for t in self.messages if not (own and t.role == "system"))
        return "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


@dataclass(frozen=True)
class Rows:
    """The rows of a part's files in order, and how many more there were without text or answer."""

    found: list[Row]
    empty: int = 0


def read_rows(files: list[Path], *, labelled: bool = False) -> Rows:
    """Every row of the files; with `labelled` each is a text with a label. Rows that are empty are
    left out and counted. Raises `UserError` naming file and line of a bad one."""
    shape = _labelled_row if labelled else _row
    found: list[Row] = []
    empty = 0
    for file in files:
        for unit, number, values in _read(file):
            where = f"{file.name} {unit} {number}"
            if not isinstance(values, dict):
                raise UserError(f"{where}: an object with named fields is needed")
            row = shape(values, where)
            if row is None:
                empty += 1
            else:
                found.append(row)
    if not found:
        names = ", ".join(file.name for file in files)
        why = f"all {empty:,} rows are empty" if empty else "no examples"
        raise UserError(f"{names}: {why}; at least one row with text is needed")
    return Rows(found, empty)


def _read(file: Path) -> Iterator[tuple[str, int, Any]]:
    suffix = file.suffix.lower()
    try:
        if suffix in (".jsonl", ".ndjson"):
            yield from _read_jsonl(file)
        elif suffix == ".json":
            yield from _read_json(file)
        elif suffix == ".csv":
            with file.open(newline="", encoding="utf-8-sig") as stream:
                reader = csv.DictReader(stream)
                for values in reader:
                    whole = {key: value for key, value in values.items() if value is not None}
                    yield "line", reader.line_num, whole
        else:
            yield from _read_parquet(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read: {error}") from error


def _read_jsonl(file: Path) -> Iterator[tuple[str, int, Any]]:
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield "line", number, _decode(line, f"{file.name} line {number}")


def _read_json(file: Path) -> Iterator[tuple[str, int, Any]]:
    values = _decode(file.read_bytes(), file.name)
    if not isinstance(values, list):
        raise UserError(f"{file.name}: a list of objects is needed, one object an example")
    for number, row in enumerate(values, start=1):
        yield "row", number, row


def _read_parquet(file: Path) -> Iterator[tuple[str, int, Any]]:
    try:
        import pyarrow.parquet  # an extra of its own: large, and few need it
    except ImportError:
        raise UserError(
            f'{file.name}: reading Parquet needs pyarrow: pip install "tui-trainer[parquet]"'
        ) from None
    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield "row", number, row
    except pyarrow.ArrowException as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{file} cannot be read as Parquet: {first}") from error


def _decode(data: bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except BAD_CONTENT as error:
        reason = reason_of(error).removeprefix("not JSON: ")
        raise UserError(f"{where} is not valid JSON: {reason}") from None


def _row(values: dict[str, Any], where: str) -> Row | None:
    """A conversation or a text; None where it is empty."""
    weight = _weight(values.get("weight"), where)
    if values.get("messages") is not None:
        turns = _messages(values["messages"], where)
        return None if turns is None else Row(turns, None, weight, where)
    named = [pair for pair in PAIRS if pair[0] in values or pair[1] in values]
    # A table has every column in every row: one that holds something goes before an empty one.
    named.sort(key=lambda pair: values.get(pair[0]) is None and values.get(pair[1]) is None)
    if named and not (values.get("text") and all(values.get(f) is None for f in named[0])):
        pair = _pair(values, *named[0], where)
        return None if pair is None else Row(pair, None, weight, where)
    if "text" in values:
        text = _text(values, "text", where)
        return None if text is None else Row((), text, weight, where)
    shapes = (
        "messages, instruction/output, prompt/completion, question/answer, query/response, text"
    )
    found = ", ".join(str(key) for key in values if key is not None) or "none"
    raise UserError(f"{where}: fields not recognised ({found}); one of these is needed: {shapes}")


def _labelled_row(values: dict[str, Any], where: str) -> Row | None:
    """A text with a label; None where one of them is empty."""
    named = [name for name in LABELS if name in values]
    field = next((name for name in named if values[name] is not None), named[0] if named else None)
    if field is None or "text" not in values:
        found = ", ".join(str(key) for key in values if key is not None) or "none"
        raise UserError(
            f'{where}: task = "classification" needs the fields text and label (or category); '
            f"found: {found}"
        )
    text, label = _text(values, "text", where), values[field]
    if not isinstance(label, str | int | None):
        raise UserError(f"{where}: the field {field!r} is neither text nor a whole number")
    if text is None or label is None or not str(label).strip():
        return None
    return Row((), text, _weight(values.get("weight"), where), where, str(label).strip())


def _pair(
    values: dict[str, Any], question: str, answer: str, where: str
) -> tuple[Message, ...] | None:
    prompt, reply = _text(values, question, where), _text(values, answer, where)
    if prompt is None or reply is None:
        return None
    extra = values.get("input") if question == "instruction" else None
    if isinstance(extra, str) and extra.strip():
        prompt = f"{prompt}\n\n{extra}"
    turns = (Message("user", prompt), Message("assistant", reply))
    system = values.get("system")
    if isinstance(system, str) and system.strip():
        return (Message("system", system), *turns)
    return turns


def _text(values: dict[str, Any], field: str, where: str) -> str | None:
    """The field's text; None where it is blank or null."""
    if field not in values:
        raise UserError(f"{where}: the field {field!r} is missing")
    value = values[field]
    if value is None:
        return None
    if not isinstance(value, str):
        raise UserError(f"{where}: the field {field!r} is not text")
    return value if value.strip() else None


def _messages(value: Any, where: str) -> tuple[Message, ...] | None:
    """The turns; None where one of the user's or the assistant's is blank. Blank system turns
    are left out: they say nothing."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: 'messages' is not a list of turns with role and content")
    turns = []
    for turn in value:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            raise UserError(f"{where}: each turn needs a role ({', '.join(ROLES)}) and content")
        learned = turn["role"] == "assistant" and turn.get("weight") != 0
        content = _text(turn, "content", where)
        if content is not None:
            turns.append(Message(turn["role"], content, learned))
        elif turn["role"] != "system":
            return None
    if not any(turn.learned for turn in turns):
        raise UserError(f"{where}: 'messages' has no assistant turn, so there is no answer")
    return tuple(turns)


def _weight(value: Any, where: str) -> float:
    if value in (None, ""):
        return 1.0
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise UserError(f"{where}: weight {value!r} is not a number above 0")
    return weight
