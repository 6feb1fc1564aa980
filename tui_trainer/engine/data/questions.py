"""What a model is asked by the rows of a file: the rows of training, without their answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Task
from tui_trainer.engine.data import known_fields as known
from tui_trainer.engine.data.data_files import read_objects_tolerantly
from tui_trainer.engine.data.known_fields import PAIRS, LeftOut, RowFields
from tui_trainer.engine.data.row_formats import (
    filled,
    history_turns,
    names_of,
    parse_turn,
    system_turn,
)
from tui_trainer.engine.data.rows import Message
from tui_trainer.store.data_sources import is_data_file
from tui_trainer.store.regular_files import without_mark


@dataclass(frozen=True)
class QuestionRow:
    """One row: a text or a conversation that ends with the user's turn, or why it has none."""

    row: int  # number of its line, or of the row where the file has no lines; from 1
    turns: tuple[Message, ...] = ()
    error: str | None = None  # one sentence

    def text(self) -> str:
        """Return the text, or of a conversation each turn after its role."""
        if len(self.turns) == 1:
            return self.turns[0].content
        return "\n".join(f"{turn.role}: {turn.content}" for turn in self.turns)


def read_questions(file: Path, task: Task) -> Iterator[QuestionRow]:
    """Yield the rows of a file for a classifier (texts) or a causal model (conversations).

    A file of another suffix than those of data has a text in every line, or objects if its first
    one is an object. A row that cannot be used has an `error`; labels and answers are not read.
    Raises `UserError` for a file that cannot be read at all.
    """
    json_lines = False
    if not is_data_file(file):
        json_lines = _has_objects(file)
        if not json_lines:
            yield from _lines(file)
            return
    for unit, number, value in read_objects_tolerantly(file, json_lines=json_lines):
        yield _question(f"{unit} {number}", number, value, task)


def _question(where: str, number: int, value: Any, task: Task) -> QuestionRow:
    if isinstance(value, UserError):
        return QuestionRow(number, error=str(value))
    if not isinstance(value, dict):
        return QuestionRow(number, error=f"{where}: an object with named fields is needed")
    parse = _text if task == "classification" else _conversation
    try:
        return QuestionRow(number, parse(RowFields(value), where))
    except LeftOut as error:
        detail = f" ({known.printable(error.detail)})" if error.detail else ""
        return QuestionRow(number, error=f"{where}: {error.reason}{detail}")
    except UserError as error:
        return QuestionRow(number, error=str(error))


def _text(fields: RowFields, where: str) -> tuple[Message, ...]:
    if "text" not in fields.values:
        raise UserError(
            f"{where}: a classifier reads the field 'text'; found: {names_of(fields.values)}"
        )
    return (Message("user", filled(fields.values, "text", where)),)


def _conversation(fields: RowFields, where: str) -> tuple[Message, ...]:
    values = fields.values
    fields.check_unsupported(known.UNSUPPORTED)
    if values.get("messages") is not None:
        turns = _asked_turns(values["messages"], where)
        return (*system_turn(fields, turns), *turns)
    asked = [question for question, _ in PAIRS if question in values]
    asked.sort(key=lambda name: values[name] is None)  # in a table every row has every column
    name = next(iter(asked), "text")
    if name not in values or (values[name] is None and values.get("text")):
        name = "text"
    if name not in values:
        formats = ", ".join(["messages", *(question for question, _ in PAIRS), "text"])
        raise UserError(
            f"{where}: fields not recognised ({names_of(values)}); one of these is needed: "
            f"{formats}"
        )
    text = filled(values, name, where)
    if name == "instruction" and "input" in fields.unused:
        text = f"{text}\n\n{filled(values, 'input', where)}"
    turns = (*history_turns(fields), Message("user", text))
    return (*system_turn(fields, turns), *turns)


def _asked_turns(value: Any, where: str) -> tuple[Message, ...]:
    """Return the turns up to the last one of the user: what follows is the answer."""
    if not isinstance(value, list) or not all(
        isinstance(item, dict) and isinstance(item.get("role"), str) for item in value
    ):
        raise UserError(f"{where}: 'messages' is not a list of turns with role and content")
    last = max((at for at, item in enumerate(value) if item["role"] == "user"), default=None)
    if last is None:
        raise UserError(f"{where}: 'messages' has no turn of the user")
    turns = (parse_turn(RowFields(item), where) for item in value[: last + 1])
    return tuple(turn for turn in turns if turn is not None)


def _has_objects(file: Path) -> bool:
    """Return whether the first line with content is an object, or starts a list of objects. Raises
    `UserError`."""
    try:
        with file.open("rb") as stream:
            first = without_mark(next((line for line in stream if line.strip()), b""))
            return first.lstrip().startswith((b"{", b"[{"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None


def _lines(file: Path) -> Iterator[QuestionRow]:
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            where = f"line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield QuestionRow(number, error=f"{where} is not valid UTF-8")
                continue
            if text.strip():
                yield QuestionRow(number, (Message("user", text),))
            else:
                yield QuestionRow(number, error=f"{where}: {known.EMPTY}")
