"""Rows of data files as conversations, recognised by their fields (fields.py)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tui_trainer.contracts.data import MOST_PLACES, LeftOutRows, UnusedField
from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data import known_fields as known
from tui_trainer.engine.data.data_files import read_objects
from tui_trainer.engine.data.known_fields import PAIRS, LeftOut, RowFields, holds

ROLES = ("system", "user", "assistant", "tool")
_OTHER_ROLES = {"developer": "system"}  # OpenAI's newer name


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
    counts it that many times; `where` is its file and line. Rows with the same `group` teach the
    same answer to differently worded questions."""

    messages: tuple[Message, ...]
    text: str | None
    weight: float
    where: str
    label: str | None = None
    group: str = ""

    def content(self, *, own: bool = False) -> str:
        """All that the row says but its label, with the roles; `own` leaves out what many rows
        may have in common, the system's turns."""
        if self.text is not None:
            return self.text
        turns = (t for t in self.messages if not (own and t.role == "system"))
        return "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


@dataclass(frozen=True)
class ReadRows:
    """The rows of a part's files in order; those left out by reason; the known fields that were
    not used, and the names of all other fields."""

    found: list[Row]
    left_out: list[LeftOutRows] = field(default_factory=list)
    unused: list[UnusedField] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    @property
    def empty(self) -> int:
        """How many rows were left out as empty."""
        return sum(item.rows for item in self.left_out if item.reason == known.EMPTY)

    @property
    def total(self) -> int:
        """All rows, those left out among them."""
        return len(self.found) + sum(item.rows for item in self.left_out)


def read_rows(files: list[Path], *, labelled: bool = False) -> ReadRows:
    """Every row of the files; with `labelled` each is a text with a label. Rows that cannot be
    taught rightly are left out and counted. Raises `UserError` naming file and line of a bad one,
    or for what reasons nothing is left."""
    counts = _Counts()
    found: list[Row] = []
    for file in files:
        found += _read_file(file, counts, labelled=labelled)
    rows = ReadRows(found, counts.left_out(), counts.unused(), list(counts.columns))
    if not found:
        names = ", ".join(file.name for file in files)
        raise UserError(f"{names}: {_nothing_left(rows)}")
    return rows


def _nothing_left(rows: ReadRows) -> str:
    if not rows.left_out:
        return "no examples; at least one row with text is needed"
    if rows.empty == rows.total:
        return f"all {rows.total:,} rows are empty; at least one row with text is needed"
    reasons = [f"{item.rows:,} × {item.why()}" for item in rows.left_out]
    if len(reasons) == 1:
        reasons = [rows.left_out[0].why()]
    why = "; ".join(reasons)
    return f"all {rows.total:,} rows are left out: {why}; at least one other row is needed"


def _read_file(file: Path, counts: _Counts, *, labelled: bool) -> list[Row]:
    shape = _labelled_row if labelled else _row
    found: list[Row | None] = []
    numbers: list[tuple[int, dict[str, float]]] = []
    for unit, number, values in read_objects(file):
        where = f"{file.name} {unit} {number}"
        if not isinstance(values, dict):
            raise UserError(f"{where}: an object with named fields is needed")
        fields = RowFields(values)
        try:
            row = shape(fields, where)
        except LeftOut as out:
            counts.leave_out(out, where)
            continue
        if fields.numbers:
            numbers.append((len(found), fields.numbers))
        counts.note_unused(fields, where)
        found.append(row)
    _judge(found, numbers, counts)
    return [row for row in found if row is not None]


def _judge(
    found: list[Row | None], numbers: list[tuple[int, dict[str, float]]], counts: _Counts
) -> None:
    """Takes out the rows whose mark is 0 or -1, unless other numbers in the file's column show
    that it holds classes."""
    every = [(index, name, value) for index, marks in numbers for name, value in marks.items()]
    classes = {name for _, name, value in every if value not in known.MARK_NUMBERS}
    for index, name, value in every:
        row = found[index]
        if row is None:
            continue
        if name in classes:
            counts.fields.add(name, row.where)
        elif value <= 0:
            counts.leave_out(LeftOut(known.marked_wrong(name)), row.where)
            found[index] = None


class _Places:
    """How often something was found, by its name, and where first."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.where: dict[str, list[str]] = {}

    def add(self, name: str, where: str) -> None:
        self.rows[name] += 1
        first = self.where.setdefault(name, [])
        if len(first) < MOST_PLACES:
            first.append(where)


class _Counts:
    """What was left out of a part, and what of its rows was not used."""

    def __init__(self) -> None:
        self.reasons = _Places()
        self.fields = _Places()
        self.columns: dict[str, None] = {}  # in the order of the files

    def leave_out(self, out: LeftOut, where: str) -> None:
        self.reasons.add(out.reason, f"{where}: {known.shown(out.detail)}" if out.detail else where)

    def note_unused(self, fields: RowFields, where: str) -> None:
        for name in fields.unused:
            if name in known.KNOWN:
                self.fields.add(name, where)
            else:
                self.columns[known.shown(name)] = None

    def left_out(self) -> list[LeftOutRows]:
        return [
            LeftOutRows(reason=reason, rows=rows, where=self.reasons.where[reason])
            for reason, rows in self.reasons.rows.most_common()
        ]

    def unused(self) -> list[UnusedField]:
        return [
            UnusedField(field=name, rows=rows, where=self.fields.where[name])
            for name, rows in sorted(self.fields.rows.items())
        ]


def _row(fields: RowFields, where: str) -> Row:
    """A conversation or a text. Raises `LeftOut` or `UserError`."""
    values = fields.values
    weight = _weight(fields, where)
    if values.get("messages") is not None:
        fields.use("messages")
        fields.check_marks()
        fields.check_bars({**known.BARS, "history": known.HISTORY_BESIDE})
        turns = _messages(values["messages"], fields, where)
        group = values.get(known.GROUP)
        if isinstance(group, str):
            fields.use(known.GROUP)
        return Row(
            (*_system(fields, turns), *turns),
            None,
            weight,
            where,
            group=group if isinstance(group, str) else "",
        )
    named = [pair for pair in PAIRS if pair[0] in values or pair[1] in values]
    # A table has every column in every row: one that holds something goes before an empty one.
    named.sort(key=lambda pair: values.get(pair[0]) is None and values.get(pair[1]) is None)
    if named and not (values.get("text") and all(values.get(f) is None for f in named[0])):
        return Row(_pair(fields, *named[0], where), None, weight, where)
    if "text" in values:
        fields.use("text")
        fields.check_marks(numbers=False)
        return Row((), _filled(values, "text", where), weight, where)
    _refuse_pairs_of_answers(fields)
    shapes = (
        "messages, instruction/output, prompt/completion, question/answer, query/response, text"
    )
    raise UserError(
        f"{where}: fields not recognised ({_names(values)}); one of these is needed: {shapes}"
    )


def _labelled_row(fields: RowFields, where: str) -> Row:
    """A text with a label. Raises `LeftOut` or `UserError`."""
    values = fields.values
    named = [name for name in known.LABELS if name in values]
    used = next((name for name in named if values[name] is not None), named[0] if named else None)
    if used is None or "text" not in values:
        raise UserError(
            f'{where}: task = "classification" needs the fields text and label (or category); '
            f"found: {_names(values)}"
        )
    text, label = _filled(values, "text", where), values[used]
    fields.use("text", used)
    if not isinstance(label, str | int | None):
        raise UserError(f"{where}: the field {used!r} is neither text nor a whole number")
    if label is None or not str(label).strip():
        raise LeftOut(known.EMPTY)
    return Row((), text, _weight(fields, where), where, str(label).strip())


def _names(values: dict[str, Any]) -> str:
    return ", ".join(known.shown(str(key)) for key in values) or "none"


def _pair(fields: RowFields, question: str, answer: str, where: str) -> tuple[Message, ...]:
    values = fields.values
    if not holds(values.get(answer)):
        _refuse_pairs_of_answers(fields)
    fields.use(question, answer)
    fields.check_marks()
    fields.check_bars(known.BARS)
    prompt, reply = _filled(values, question, where), _filled(values, answer, where)
    if question == "instruction" and "input" in fields.unused:
        fields.use("input")
        prompt = f"{prompt}\n\n{_filled(values, 'input', where)}"
    turns = (*_history(fields), Message("user", prompt), Message("assistant", reply))
    return (*_system(fields, turns), *turns)


def _refuse_pairs_of_answers(fields: RowFields) -> None:
    if any(name in fields.unused for name in known.PREFERENCE):
        raise LeftOut(known.PAIRED)


def _history(fields: RowFields) -> tuple[Message, ...]:
    """Earlier turns; their answers are learned too, as LLaMA-Factory, whose field this is, does."""
    if not fields.has("history"):
        return ()
    fields.use("history")
    turns: list[Message] = []
    pairs = fields.values["history"]
    for pair in pairs if isinstance(pairs, list) else [None]:
        texts = pair if isinstance(pair, list) else []
        if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise LeftOut(known.HISTORY_SHAPE)
        if not all(text.strip() for text in texts):
            raise LeftOut(known.EMPTY)
        turns += [Message("user", texts[0]), Message("assistant", texts[1])]
    return tuple(turns)


def _system(fields: RowFields, turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The system turn that stands beside the other ones, unless they have one of their own."""
    own = next((turn.content for turn in turns if turn.role == "system"), None)
    for name in known.SYSTEMS:
        if name not in fields.unused:
            continue
        try:
            text = _content(fields.values[name])
        except TypeError:
            raise LeftOut(f"{name!r} is not text") from None
        if own is None and text is not None:
            fields.use(name)
            return (Message("system", text),)
        if text == own:
            fields.use(name)
    return ()


def _filled(values: dict[str, Any], name: str, where: str) -> str:
    """The field's text. Raises `LeftOut` where it is blank or null."""
    if name not in values:
        raise UserError(f"{where}: the field {name!r} is missing")
    value = values[name]
    if not isinstance(value, str | None):
        raise UserError(f"{where}: the field {name!r} is not text")
    if value is None or not value.strip():
        raise LeftOut(known.EMPTY)
    return value


def _messages(value: Any, fields: RowFields, where: str) -> tuple[Message, ...]:
    """The turns; fields of theirs that are not used join those of the row."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: 'messages' is not a list of turns with role and content")
    turns = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("role"), str):
            raise UserError(f"{where}: each turn needs a role ({', '.join(ROLES)}) and content")
        turn = RowFields(item)
        message = _turn(turn, where)
        fields.unused.update((f"messages.{name}", None) for name in turn.unused)
        if message is not None:
            turns.append(message)
    if not any(turn.role == "assistant" for turn in turns):
        raise LeftOut(known.NO_ANSWER)
    if not any(turn.learned for turn in turns):
        raise LeftOut(known.NOT_LEARNED)
    return tuple(turns)


def _turn(fields: RowFields, where: str) -> Message | None:
    """One turn; None for a system turn without text."""
    values = fields.values
    fields.use("role", "content")
    fields.check_bars(known.BARS)
    fields.check_marks()
    for mark, value in fields.numbers.items():
        if value <= 0:
            raise LeftOut(known.marked_wrong(mark))
    name: str = values["role"]
    if name == "function":
        raise LeftOut(known.TOOLS)
    role = _OTHER_ROLES.get(name, name)
    if role not in ROLES:
        raise LeftOut(known.ROLE, name)
    if "content" not in values:
        raise UserError(f"{where}: the field 'content' is missing")
    try:
        content = _content(values["content"])
    except TypeError:
        raise UserError(f"{where}: the field 'content' is not text") from None
    if content is not None:
        return Message(role, content, role == "assistant" and _is_learned(fields))
    if role != "system":
        raise LeftOut(known.EMPTY)
    return None


def _is_learned(fields: RowFields) -> bool:
    """Whether an assistant turn is to be learned: OpenAI's `weight` of a turn, Axolotl's `train`.
    Any other weight than 0 and 1 is not used."""
    values = fields.values
    train = values.get("train")
    if isinstance(train, bool):
        fields.use("train")
    try:
        weight = float(values["weight"]) if "weight" in fields.unused else 1.0
    except (TypeError, ValueError):
        weight = math.nan
    if weight <= 0 or weight == 1:
        fields.use("weight")
    return train is not False and not weight <= 0


def _content(value: Any) -> str | None:
    """Text, also in parts that are all text; None where it is blank. Raises `LeftOut` for other
    parts, `TypeError` for anything else."""
    if isinstance(value, list):
        texts = []
        for part in value:
            text = part.get("text") if isinstance(part, dict) else None
            if not isinstance(text, str) or part.get("type") not in (None, "text"):
                kind = str(part.get("type")) if isinstance(part, dict) else type(part).__name__
                raise LeftOut(known.PARTS, kind)
            texts.append(text)
        value = "".join(texts)
    if not isinstance(value, str | None):
        raise TypeError
    return value if value is not None and value.strip() else None


def _weight(fields: RowFields, where: str) -> float:
    value = fields.values.get("weight")
    fields.use("weight")
    if value in (None, ""):
        return 1.0
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if weight == 0:
        raise LeftOut(known.NO_WEIGHT)
    if not (math.isfinite(weight) and weight > 0):
        raise UserError(f"{where}: weight {value!r} is not a number above 0")
    return weight
