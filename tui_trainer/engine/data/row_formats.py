"""Parsing rows of data files; the format is recognised by their fields (known_fields.py)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.data_report import MOST_LOCATIONS, LeftOutRows, UnusedField
from tui_trainer.engine.data import known_fields as known
from tui_trainer.engine.data.data_files import Unreadable, read_objects
from tui_trainer.engine.data.known_fields import PAIRS, LeftOut, RowFields, has_content
from tui_trainer.engine.data.rows import Message, ReadRows, Row
from tui_trainer.text.formats import count

ROLES = ("system", "user", "assistant", "tool")
_OTHER_ROLES = {"developer": "system"}  # OpenAI's newer name


def read_rows(
    files: list[Path], *, labelled: bool = False, source_weights: Sequence[float] = ()
) -> ReadRows:
    """Read the rows of the files; with `labelled` each is a text with a label. `source_weights`
    has the weight of each file; without, all have 1.

    Rows that cannot be used for training are left out and counted. Raises `UserError`, which names
    file and line of an invalid row, or the reasons why no row remains.
    """
    counts = _Counts()
    found: list[Row] = []
    for file, weight in zip(files, source_weights or [1.0] * len(files), strict=True):
        rows_of_file = _read_file(file, counts, labelled=labelled)
        if weight != 1:
            rows_of_file = [replace(row, source_weight=weight) for row in rows_of_file]
        found += rows_of_file
    rows = ReadRows(found, counts.left_out(), counts.unused(), list(counts.columns))
    if not found:
        names = ", ".join(file.name for file in files)
        raise UserError(f"{names}: {_no_rows_message(rows)}")
    return rows


def _no_rows_message(rows: ReadRows) -> str:
    if not rows.left_out:
        return "no examples; at least one row with text is needed"
    if rows.empty == rows.total:
        return f"all {count(rows.total)} rows are empty; at least one row with text is needed"
    reasons = [f"{count(item.rows)} × {item.text()}" for item in rows.left_out]
    if len(reasons) == 1:
        reasons = [rows.left_out[0].text()]
    why = "; ".join(reasons)
    return f"all {count(rows.total)} rows are left out: {why}; at least one other row is needed"


def _read_file(file: Path, counts: _Counts, *, labelled: bool) -> list[Row]:
    parse = _labelled_row if labelled else _row
    found: list[Row | None] = []
    numbers: list[tuple[int, dict[str, float]]] = []
    for unit, number, values in read_objects(file):
        where = f"{file.name} {unit} {number}"
        if isinstance(values, Unreadable):
            counts.leave_out(LeftOut(values.reason, values.detail), where)
            continue
        fields = RowFields(values)
        try:
            row = parse(fields, where)
        except LeftOut as out:
            counts.leave_out(out, where)
            continue
        if fields.numbers:
            numbers.append((len(found), fields.numbers))
        counts.note_unused(fields, where)
        found.append(row)
    _drop_wrong_answers(found, numbers, counts)
    return [row for row in found if row is not None]


def _drop_wrong_answers(
    found: list[Row | None], numbers: list[tuple[int, dict[str, float]]], counts: _Counts
) -> None:
    """Drop the rows with a mark of 0 or -1, unless other numbers in the file's column show that it
    has classes."""
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


class _Occurrences:
    """How often something was found, by its name, and the first locations."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.where: dict[str, list[str]] = {}

    def add(self, name: str, where: str) -> None:
        self.rows[name] += 1
        first = self.where.setdefault(name, [])
        if len(first) < MOST_LOCATIONS:
            first.append(where)


class _Counts:
    """The rows of a part that are left out, and the fields that are not used."""

    def __init__(self) -> None:
        self.reasons = _Occurrences()
        self.fields = _Occurrences()
        self.columns: dict[str, None] = {}  # in the order of the files

    def leave_out(self, out: LeftOut, where: str) -> None:
        self.reasons.add(
            out.reason, f"{where}: {known.printable(out.detail)}" if out.detail else where
        )

    def note_unused(self, fields: RowFields, where: str) -> None:
        for name in fields.unused:
            if name in known.KNOWN:
                self.fields.add(name, where)
            else:
                self.columns[known.printable(name)] = None

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
    """Parse a conversation or a text. Raises `LeftOut` or `UserError`."""
    values = fields.values
    weight = _weight(fields, where)
    if values.get("messages") is not None:
        fields.use("messages")
        fields.check_marks()
        fields.check_unsupported({**known.UNSUPPORTED, "history": known.HISTORY_BESIDE})
        turns = _messages(values["messages"], fields, where)
        group = values.get(known.GROUP)
        if isinstance(group, str):
            fields.use(known.GROUP)
        return Row(
            (*system_turn(fields, turns), *turns),
            None,
            weight,
            where,
            group=group if isinstance(group, str) else "",
        )
    named = [pair for pair in PAIRS if pair[0] in values or pair[1] in values]
    # A table has every column in every row: columns with content come before empty ones.
    named.sort(key=lambda pair: values.get(pair[0]) is None and values.get(pair[1]) is None)
    if named and not (values.get("text") and all(values.get(f) is None for f in named[0])):
        return Row(_pair(fields, *named[0], where), None, weight, where)
    if "text" in values:
        fields.use("text")
        fields.check_marks(numbers=False)
        return Row((), filled(values, "text", where), weight, where)
    _refuse_preference_pair(fields)
    formats = (
        "messages, instruction/output, prompt/completion, question/answer, query/response, text"
    )
    raise UserError(
        f"{where}: fields not recognised ({names_of(values)}); one of these is needed: {formats}"
    )


def _labelled_row(fields: RowFields, where: str) -> Row:
    """Parse a text with a label. Raises `LeftOut` or `UserError`."""
    values = fields.values
    named = [name for name in known.LABELS if name in values]
    used = next((name for name in named if values[name] is not None), named[0] if named else None)
    if used is None or "text" not in values:
        raise UserError(
            f'{where}: task = "classification" needs the fields text and label (or category); '
            f"found: {names_of(values)}"
        )
    text, label = filled(values, "text", where), values[used]
    fields.use("text", used)
    if not isinstance(label, str | int | None):
        raise UserError(f"{where}: the field {used!r} is neither text nor a whole number")
    if label is None or not str(label).strip():
        raise LeftOut(known.EMPTY)
    return Row((), text, _weight(fields, where), where, str(label).strip())


def names_of(values: dict[str, Any]) -> str:
    return ", ".join(known.printable(str(key)) for key in values) or "none"


def _pair(fields: RowFields, question: str, answer: str, where: str) -> tuple[Message, ...]:
    values = fields.values
    if not has_content(values.get(answer)):
        _refuse_preference_pair(fields)
    fields.use(question, answer)
    fields.check_marks()
    fields.check_unsupported(known.UNSUPPORTED)
    prompt, reply = filled(values, question, where), filled(values, answer, where)
    if question == "instruction" and "input" in fields.unused:
        fields.use("input")
        prompt = f"{prompt}\n\n{filled(values, 'input', where)}"
    turns = (*history_turns(fields), Message("user", prompt), Message("assistant", reply))
    return (*system_turn(fields, turns), *turns)


def _refuse_preference_pair(fields: RowFields) -> None:
    if any(name in fields.unused for name in known.PREFERENCE):
        raise LeftOut(known.PAIRED)


def history_turns(fields: RowFields) -> tuple[Message, ...]:
    """Return the earlier turns. Their answers are learned too, as in LLaMA-Factory, which defines
    the field."""
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


def system_turn(fields: RowFields, turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the system turn from a field of the row, unless `turns` have one."""
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


def filled(values: dict[str, Any], name: str, where: str) -> str:
    """Return the field's text. Raises `LeftOut` where it is blank or null."""
    if name not in values:
        raise UserError(f"{where}: the field {name!r} is missing")
    value = values[name]
    if not isinstance(value, str | None):
        raise UserError(f"{where}: the field {name!r} is not text")
    if value is None or not value.strip():
        raise LeftOut(known.EMPTY)
    return value


def _messages(value: Any, fields: RowFields, where: str) -> tuple[Message, ...]:
    """Return the turns. Their unused fields are added to those of the row."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{where}: 'messages' is not a list of turns with role and content")
    turns = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("role"), str):
            raise UserError(f"{where}: each turn needs a role ({', '.join(ROLES)}) and content")
        turn = RowFields(item)
        message = parse_turn(turn, where)
        fields.unused.update((f"messages.{name}", None) for name in turn.unused)
        if message is not None:
            turns.append(message)
    if not any(turn.role == "assistant" for turn in turns):
        raise LeftOut(known.NO_ANSWER)
    if not any(turn.learned for turn in turns):
        raise LeftOut(known.NOT_LEARNED)
    return tuple(turns)


def parse_turn(fields: RowFields, where: str) -> Message | None:
    """Return one turn; None for a system turn without text."""
    values = fields.values
    fields.use("role", "content")
    fields.check_unsupported(known.UNSUPPORTED)
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
    """Return whether an assistant turn is to be learned, by OpenAI's `weight` of a turn or
    Axolotl's `train`. A weight other than 0 and 1 counts as not used."""
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
    """Return a text, also one in parts; None where it is blank. Raises `LeftOut` for parts that
    are not text, `TypeError` for any other value."""
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
