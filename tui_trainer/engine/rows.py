"""Rows of data files as conversations, recognised by their fields."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import UserError

# (question field, answer field), tried in this order; `instruction` may have an `input` too.
PAIRS = (
    ("instruction", "output"),
    ("prompt", "completion"),
    ("question", "answer"),
    ("query", "response"),
)
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
    of 0), or plain text that is learned whole. `weight` counts it that many times; `where` is
    its file and line."""

    messages: tuple[Message, ...]
    text: str | None
    weight: float
    where: str


def read_rows(files: list[Path]) -> list[Row]:
    """Every row of the files, in order. Raises `UserError` naming file and line of a bad one."""
    rows = [
        _row(values, f"{file.name} {unit} {number}")
        for file in files
        for unit, number, values in _read(file)
    ]
    if not rows:
        names = ", ".join(file.name for file in files)
        raise UserError(f"{names}: no examples; at least one row is needed")
    return rows


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
                    yield "line", reader.line_num, values
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
    for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield "row", number, row


def _decode(data: bytes, where: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise UserError(f"{where} is not valid JSON: {error}") from None


def _row(values: Any, where: str) -> Row:
    if not isinstance(values, dict):
        raise UserError(f"{where}: an object with named fields is needed")
    weight = _weight(values.get("weight"), where)
    if values.get("messages") is not None:
        return Row(_messages(values["messages"], where), None, weight, where)
    for question, answer in PAIRS:
        if question in values or answer in values:
            return _pair(values, question, answer, weight, where)
    if "text" in values:
        return Row((), _text(values, "text", where), weight, where)
    shapes = (
        "messages, instruction/output, prompt/completion, question/answer, query/response, text"
    )
    found = ", ".join(str(key) for key in values if key is not None) or "none"
    raise UserError(f"{where}: fields not recognised ({found}); one of these is needed: {shapes}")


def _pair(values: dict[str, Any], question: str, answer: str, weight: float, where: str) -> Row:
    prompt = _text(values, question, where)
    extra = values.get("input") if question == "instruction" else None
    if isinstance(extra, str) and extra.strip():
        prompt = f"{prompt}\n\n{extra}"
    turns = [Message("user", prompt), Message("assistant", _text(values, answer, where))]
    system = values.get("system")
    if isinstance(system, str) and system.strip():
        turns.insert(0, Message("system", system))
    return Row(tuple(turns), None, weight, where)


def _text(values: dict[str, Any], field: str, where: str) -> str:
    value = values.get(field)
    if value is None:
        raise UserError(f"{where}: the field {field!r} is missing")
    if not isinstance(value, str):
        raise UserError(f"{where}: the field {field!r} is not text")
    if not value.strip():
        raise UserError(f"{where}: the field {field!r} is empty")
    return value


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: 'messages' is not a list of turns with role and content")
    turns = []
    for turn in value:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            raise UserError(f"{where}: each turn needs a role ({', '.join(ROLES)}) and content")
        learned = turn["role"] == "assistant" and turn.get("weight") != 0
        turns.append(Message(turn["role"], _text(turn, "content", where), learned))
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
