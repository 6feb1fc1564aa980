"""Parsing rows of data files; the format is recognised by their fields (known_fields.py)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data import known_fields as known
from tui_trainer.engine.data.column_mapping import ColumnMapping
from tui_trainer.engine.data.files.data_files import Unreadable, read_objects
from tui_trainer.engine.data.files.row_store import RowStore, select
from tui_trainer.engine.data.known_fields import LeftOut, RowFields, has_content
from tui_trainer.engine.data.row_counts import Mark, RowCounts
from tui_trainer.engine.data.rows import Message, ReadRows, Row
from tui_trainer.engine.data.turns import check_answers, content_of, decoded, parse_turns, tools_of
from tui_trainer.text.formats import count


def read_rows(
    files: list[Path],
    *,
    labelled: bool = False,
    source_weights: Sequence[float] = (),
    columns: Mapping[str, str] | None = None,
    columns_needed: bool = False,
) -> ReadRows:
    """Read the rows of the files; with `labelled` each is a text with a label. `source_weights`
    has the weight of each file; without, all have 1. `columns` maps known field names to those of
    the files; with `columns_needed` a row must have each of these.

    Rows that cannot be used for training are left out and counted. Raises `UserError` where no row
    remains, with the reasons, or for a column that no row has.
    """
    counts = RowCounts()
    store = RowStore()
    dropped: list[int] = []
    mapping = ColumnMapping(columns or {})
    for file, weight in zip(files, source_weights or [1.0] * len(files), strict=True):
        dropped += _read_file(file, store, counts, mapping, labelled=labelled, weight=weight)
    found: Sequence[Row] = store
    if dropped:
        kept = np.ones(len(store), dtype=np.bool_)
        kept[dropped] = False
        found = select(store, np.flatnonzero(kept))
    names = ", ".join(file.name for file in files)
    if columns_needed:
        mapping.check(names)
    rows = ReadRows(
        found, counts.left_out(), counts.unused(), list(counts.columns), dict(counts.shapes)
    )
    if not found:
        raise UserError(f"{names}: {_no_rows_message(rows, mapping, labelled=labelled)}")
    return rows


def _no_rows_message(rows: ReadRows, mapping: ColumnMapping, *, labelled: bool) -> str:
    if not rows.left_out:
        return "no examples; at least one row with text is needed"
    if [item.reason for item in rows.left_out] == [known.NOT_RECOGNISED]:
        return mapping.proposal(labelled=labelled)
    if rows.empty == rows.total:
        return f"all {count(rows.total)} rows are empty; at least one row with text is needed"
    reasons = [f"{count(item.rows)} × {item.text()}" for item in rows.left_out]
    if len(reasons) == 1:
        reasons = [rows.left_out[0].text()]
    why = "; ".join(reasons)
    return f"all {count(rows.total)} rows are left out: {why}; at least one other row is needed"


def _read_file(
    file: Path,
    store: RowStore,
    counts: RowCounts,
    mapping: ColumnMapping,
    *,
    labelled: bool,
    weight: float,
) -> list[int]:
    """Add the rows of a file, and return the numbers of those that are wrong answers."""
    parse = _labelled_row if labelled else _row
    marked: list[Mark] = []
    for unit, number, values in read_objects(file):
        where = f"{file.name} {unit} {number}"
        if isinstance(values, Unreadable):
            counts.leave_out(LeftOut(values.reason, values.detail), where)
            continue
        fields = RowFields(mapping.mapped(values))
        try:
            row = parse(fields, where)
        except LeftOut as out:
            if out.reason == known.NOT_RECOGNISED:
                mapping.note(values)
            counts.leave_out(out, where)
            continue
        marked += [Mark(len(store), fields.shape, *mark) for mark in fields.numbers.items()]
        counts.note_unused(fields, where)
        counts.shapes[fields.shape] += 1
        store.append(row if weight == 1 else replace(row, source_weight=weight))
    return counts.leave_out_wrong(marked, store)


def _row(fields: RowFields, where: str) -> Row:
    """Parse a conversation or a text. Raises `LeftOut`."""
    values = fields.values
    weight = _weight(fields)
    for name in known.CONVERSATIONS:
        if is_conversation(values.get(name)):
            fields.shape = name
            fields.use(name)
            return _conversation(fields, name, weight, where)
    question, answer = _names_of_pair(fields)
    if question and answer:
        fields.shape = f"{question}/{answer}"
        return _whole(fields, _pair(fields, question, answer), weight, where)
    paired = [name for name in known.PREFERENCE if name in fields.unused]
    if paired and not (len(paired) == 1 and has_content(values.get("text"))):
        fields.shape = "chosen/rejected"
        return _whole(fields, _preferred(fields, (), question), weight, where)
    if has_content(values.get("text")):
        fields.shape = "text"
        fields.use("text")
        if "role" in values and any(name in values for name in known.TREE):
            raise LeftOut(known.ONE_TURN)
        fields.check_unsupported(known.UNSUPPORTED)
        fields.check_marks(numbers=False)
        return Row((), text_of(values["text"], "text"), weight, where)
    raise _unusable(fields, question, answer)


def _unusable(fields: RowFields, question: str | None, answer: str | None) -> LeftOut:
    """Return why a row has neither a conversation, nor a question with its answer, nor a text."""
    values = fields.values
    every = (*known.CONVERSATIONS, *known.QUESTIONS, *known.ANSWERS, "text")
    if isinstance(values.get("chat"), str) and has_content(values["chat"]):
        return LeftOut(known.CHAT_TEXT)
    if "answers" in values and question:
        return LeftOut(known.NESTED)
    for name in known.CONVERSATIONS:
        if has_content(values.get(name)):
            return LeftOut(known.NOT_TURNS)
    if question and not any(name in values for name in known.ANSWERS):
        return LeftOut(f"no answer field beside {question!r}")
    if answer and not any(name in values for name in known.QUESTIONS):
        return LeftOut(f"no question field beside {answer!r}")
    if any(name in values for name in every):
        return LeftOut(known.EMPTY)
    return LeftOut(known.NOT_RECOGNISED, names_of(values))


def is_conversation(value: Any) -> bool:
    """Return whether a value looks like a list of turns, or the JSON text of one."""
    return (isinstance(value, list) and has_content(value)) or (
        isinstance(value, str) and value.lstrip().startswith("[") and len(value.strip()) > 2
    )


def _names_of_pair(fields: RowFields) -> tuple[str | None, str | None]:
    """Return the names of the question and of the answer; None where a row has none."""
    for question, answer in known.PAIRS:
        if question in fields.unused and answer in fields.unused:
            return question, answer
    return _first(fields, known.QUESTIONS), _first(fields, known.ANSWERS)


def _first(fields: RowFields, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in fields.unused), None)


def _conversation(fields: RowFields, name: str, weight: float, where: str) -> Row:
    fields.check_marks()
    fields.check_unsupported({**known.UNSUPPORTED, "tool_calls": known.CALLS_BESIDE})
    texts = name in known.ALTERNATING
    turns = (*history_turns(fields), *parse_turns(fields.values[name], fields, texts=texts))
    if turns[-1].role != "assistant" and any(fields.has(name) for name in known.PREFERENCE):
        turns = _preferred(fields, turns, None)
    check_answers(turns)
    group = fields.values.get(known.GROUP)
    if isinstance(group, str):
        fields.use(known.GROUP)
    row = _whole(fields, turns, weight, where)
    return replace(row, group=group if isinstance(group, str) else "")


def _whole(fields: RowFields, turns: tuple[Message, ...], weight: float, where: str) -> Row:
    """Return the conversation with the row's system turn and definitions of tools."""
    whole = (*system_turn(fields, turns), *turns)
    return Row(whole, None, weight, where, tools=tools_of(fields))


def _pair(fields: RowFields, question: str, answer: str) -> tuple[Message, ...]:
    """Return the turns of a question and an answer; each may be a list of turns (TRL)."""
    fields.use(question, answer)
    fields.check_marks()
    fields.check_unsupported({**known.UNSUPPORTED, "tool_calls": known.CALLS_BESIDE})
    turns = (*history_turns(fields), *question_turns(fields, question))
    turns += _answer_turns(fields.values[answer], answer, fields)
    check_answers(turns)
    return turns


def question_turns(fields: RowFields, question: str) -> tuple[Message, ...]:
    """Return the turns of a question field, with what the question is about."""
    value = fields.values[question]
    fields.use(question)
    given = turns_in(value)
    if given is not None:
        # What was answered before is context: the row's answer is the other field.
        return tuple(replace(turn, learned=False) for turn in parse_turns(given, fields))
    text = text_of(value, question)
    for name in known.MATERIAL:
        if name in fields.unused:
            material = content_of(fields.values[name], name)
            fields.use(name)
            if material is not None and material not in text:
                text = f"{text}\n\n{material}"
    return (Message("user", text),)


def _answer_turns(value: Any, name: str, fields: RowFields) -> tuple[Message, ...]:
    given = turns_in(value)
    if given is not None:
        return parse_turns(given, fields)
    return (Message("assistant", text_of(value, name)),)


def turns_in(value: Any) -> list[Any] | None:
    """Return a list of objects that have a role, also from the JSON text in a table's cell and of a
    single object; None for any other value."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = decoded(value)
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list) or not items:
        return None
    turns = all(isinstance(item, dict) and ("role" in item or "from" in item) for item in items)
    return items if turns else None


def _preferred(
    fields: RowFields, before: tuple[Message, ...], question: str | None
) -> tuple[Message, ...]:
    """Return the conversation with the better answer of a pair; the worse counts as not used."""
    fields.check_marks()
    fields.check_unsupported(known.UNSUPPORTED)
    if "chosen" not in fields.unused:
        raise LeftOut(known.EMPTY)
    chosen = fields.values["chosen"]
    fields.use("chosen")
    if question:
        before = question_turns(fields, question)
    if isinstance(chosen, str) and not before and turns_in(chosen) is None:
        answers = _dialogue(chosen)
    else:
        answers = _answer_turns(chosen, "chosen", fields)
    before = (*history_turns(fields), *before)
    said = [(turn.role, turn.content) for turn in answers]
    if answers[0].role != "assistant" and any(turn.role == "user" for turn in before):
        # The question is repeated before the answer: what comes before the repeated turns stays.
        first = next((i for i, t in enumerate(before) if (t.role, t.content) == said[0]), None)
        if first is None:
            raise LeftOut(known.OTHER_QUESTION)
        before = before[:first]
    if not before and len(answers) == 1:
        raise LeftOut(known.NO_QUESTION)
    # Of earlier answers it is not known that they are good.
    last = len(answers) - 1
    answers = tuple(
        replace(turn, learned=turn.learned and number == last)
        for number, turn in enumerate(answers)
    )
    check_answers(answers)
    return (*before, *answers)


_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


def _dialogue(text: str) -> tuple[Message, ...]:
    """Return the turns of a text in the form of Anthropic's HH-RLHF: `Human: … Assistant: …`.
    Raises `LeftOut`."""
    parts = _SPEAKER.split(text)
    if parts[0].strip() or len(parts) < 5:
        raise LeftOut(known.NO_QUESTION)
    roles, texts = parts[1::2], [part.strip() for part in parts[2::2]]
    if roles[-1] != "Assistant" or not all(texts):
        raise LeftOut(known.EMPTY)
    return tuple(
        Message("user" if role == "Human" else "assistant", said)
        for role, said in zip(roles, texts, strict=True)
    )


def _labelled_row(fields: RowFields, where: str) -> Row:
    """Parse a text with a label. Raises `LeftOut`."""
    values = fields.values
    named = [name for name in known.LABELS if name in values]
    used = next((name for name in named if values[name] is not None), named[0] if named else None)
    if used is None or "text" not in values:
        raise LeftOut(known.NOT_RECOGNISED, names_of(values))
    fields.check_unsupported(known.UNSUPPORTED)
    fields.shape = f"text/{used}"
    text, label = text_of(values["text"], "text"), values[used]
    fields.use("text", used)
    if not isinstance(label, str | int | None):
        raise LeftOut(f"the label {used!r} is neither text nor a whole number")
    if label is None or not str(label).strip():
        raise LeftOut(known.EMPTY)
    return Row((), text, _weight(fields), where, str(label).strip())


def names_of(values: dict[str, Any]) -> str:
    return ", ".join(known.printable(str(key)) for key in values) or "none"


def history_turns(fields: RowFields) -> tuple[Message, ...]:
    """Return the earlier turns. Their answers are learned too, as in LLaMA-Factory, which defines
    the field."""
    if not fields.has("history"):
        return ()
    fields.use("history")
    given = turns_in(fields.values["history"])
    if given is not None:
        return parse_turns(given, fields)
    pairs = decoded(fields.values["history"])
    turns: list[Message] = []
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
        value = fields.values[name]
        if not isinstance(value, str | list):
            raise LeftOut(f"{name!r} is not text")
        text = content_of(value, name)
        if own is None and text is not None:
            fields.use(name)
            return (Message("system", text),)
        if text == own:
            fields.use(name)
    return ()


def text_of(value: Any, name: str) -> str:
    """Return a field's text; numbers and booleans are written out. Raises `LeftOut`."""
    text = content_of(value, name)
    if text is None:
        raise LeftOut(known.EMPTY)
    return text


def _weight(fields: RowFields) -> float:
    value = fields.values.get("weight")
    fields.use("weight")
    if value in (None, ""):
        return 1.0
    try:
        weight = float(value)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if weight == 0:
        raise LeftOut(known.NO_WEIGHT)
    if not (math.isfinite(weight) and weight > 0):
        raise LeftOut(known.BAD_WEIGHT, str(value))
    return weight
