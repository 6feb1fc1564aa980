"""What a model is asked by the rows of a file: the rows of training, without their answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Task
from tui_trainer.engine.data import known_fields as known
from tui_trainer.engine.data.files.data_files import read_objects_tolerantly
from tui_trainer.engine.data.known_fields import LeftOut, RowFields
from tui_trainer.engine.data.row_formats import (
    history_turns,
    is_conversation,
    names_of,
    question_turns,
    system_turn,
    text_of,
)
from tui_trainer.engine.data.rows import Message
from tui_trainer.engine.data.turns import decoded, parse_turns, role_of, tools_of
from tui_trainer.store.data_sources import is_data_file
from tui_trainer.store.regular_files import without_mark


@dataclass(frozen=True)
class QuestionRow:
    """One row: a text or a conversation that ends with the user's turn, or why it has none."""

    row: int  # number of its line, or of the row where the file has no lines; from 1
    turns: tuple[Message, ...] = ()
    error: str | None = None  # one sentence
    tools: str = ""  # definitions of the functions that can be called, a JSON list; empty: none

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
    fields = RowFields(value)
    try:
        return QuestionRow(number, parse(fields), tools=tools_of(fields))
    except LeftOut as error:
        detail = f" ({known.printable(error.detail)})" if error.detail else ""
        return QuestionRow(number, error=f"{where}: {error.reason}{detail}")


def _text(fields: RowFields) -> tuple[Message, ...]:
    if "text" not in fields.values:
        raise LeftOut("a classifier reads the field 'text'", f"found: {names_of(fields.values)}")
    return (Message("user", text_of(fields.values["text"], "text")),)


def _conversation(fields: RowFields) -> tuple[Message, ...]:
    values = fields.values
    fields.check_unsupported(known.UNSUPPORTED)
    for name in known.CONVERSATIONS:
        if is_conversation(values.get(name)):
            texts = name in known.ALTERNATING
            turns = parse_turns(_asked(values[name]), fields, texts=texts)
            turns = (*history_turns(fields), *turns)
            return (*system_turn(fields, turns), *turns)
    names = (*known.QUESTIONS, "text")
    asked = next((name for name in names if name in fields.unused), None)
    if asked is None:
        if any(name in values for name in names):
            raise LeftOut(known.EMPTY)
        needed = ", ".join([*known.CONVERSATIONS[:2], *known.QUESTIONS[:4], "text"])
        raise LeftOut(f"{known.NOT_RECOGNISED}; one of these is needed: {needed}", names_of(values))
    turns = (*history_turns(fields), *question_turns(fields, asked))
    return (*system_turn(fields, turns), *turns)


def _asked(value: Any) -> list[Any]:
    """Return the turns up to the last that is not the model's: what follows is the answer."""
    turns = value if isinstance(value, list) else decoded(value)
    if not isinstance(turns, list):
        raise LeftOut(known.NOT_TURNS)
    ends = [at for at, turn in enumerate(turns) if _is_asking(at, turn)]
    if not ends:
        raise LeftOut("the conversation has no turn of the user")
    return turns[: ends[-1] + 1]


def _is_asking(at: int, turn: Any) -> bool:
    if isinstance(turn, str):
        return at % 2 == 0
    return isinstance(turn, dict) and role_of(turn) in ("user", "tool")


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
