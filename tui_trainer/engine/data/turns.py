"""Parsing the turns of a conversation: role and content as in OpenAI's format, `from` and `value`
as in ShareGPT's, plain texts that alternate, calls of tools and their answers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec

from tui_trainer.engine.data import known_fields as known
from tui_trainer.engine.data.known_fields import LeftOut, RowFields
from tui_trainer.engine.data.rows import Message, ToolCall

# Names of roles in data sets, and the role that a chat template knows.
ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "bot", "model"), "assistant"),
    **dict.fromkeys(
        ("tool", "function", "observation", "tool_response", "function_response"), "tool"
    ),
    **dict.fromkeys(("function_call", "tool_call"), "call"),  # LLaMA-Factory: the value is the call
}
_ROLE_NAMES, _CONTENT_NAMES = ("role", "from"), ("content", "value", "text")


def parse_turns(value: Any, fields: RowFields, *, texts: bool = False) -> tuple[Message, ...]:
    """Return the turns of a list of objects, or of one as JSON text in a table's cell; with `texts`
    also of texts, by the user and the assistant in turn. Fields of a turn that are not used are
    added to those of the row. Raises `LeftOut`."""
    items = decoded(value)
    if not isinstance(items, list) or not items:
        raise LeftOut(known.NOT_TURNS)
    if texts and all(isinstance(item, str) for item in items):
        if not all(item.strip() for item in items):
            raise LeftOut(known.EMPTY)
        return tuple(Message(("user", "assistant")[i % 2], item) for i, item in enumerate(items))
    turns = []
    for item in items:
        if not isinstance(item, dict):
            raise LeftOut(known.NOT_TURNS)
        turn = RowFields(item)
        message = parse_turn(turn)
        fields.unused.update((f"messages.{name}", None) for name in turn.unused)
        if message is not None:
            turns.append(message)
    return tuple(turns)


def check_answers(turns: Iterable[Message]) -> None:
    """Raise `LeftOut` where no turn is learned."""
    answers = [turn for turn in turns if turn.role == "assistant"]
    if not answers:
        raise LeftOut(known.NO_ANSWER)
    if not any(turn.learned for turn in answers):
        raise LeftOut(known.NOT_LEARNED)


def role_of(turn: dict[str, Any]) -> str | None:
    """Return the role of a turn as chat templates name it; None where it has none that is known."""
    named = next((turn[name] for name in _ROLE_NAMES if isinstance(turn.get(name), str)), None)
    return None if named is None else ROLES.get(named.strip().lower())


def parse_turn(fields: RowFields) -> Message | None:
    """Return one turn; None for a system turn without text. Raises `LeftOut`."""
    values = fields.values
    named = next((name for name in _ROLE_NAMES if isinstance(values.get(name), str)), None)
    if named is None:
        raise LeftOut(known.NOT_TURNS)
    role = role_of(values)
    if role is None:
        raise LeftOut(known.ROLE, values[named])
    held = next((name for name in _CONTENT_NAMES if name in values), None)
    fields.use(named, *([held] if held else []))
    fields.check_unsupported(known.UNSUPPORTED)
    fields.check_marks()
    for mark, number in fields.numbers.items():
        if number <= 0:
            raise LeftOut(known.marked_wrong(mark))
    if role == "call":
        calls = tool_calls(decoded(values.get(held or "value")))
        return Message("assistant", "", is_learned(fields), calls)
    content = content_of(values.get(held) if held else None, "content")
    calls = _calls_of(fields) if role == "assistant" else ()
    if content is None and not calls:
        if role == "system":
            return None
        if role != "tool" or held is None:
            raise LeftOut(known.EMPTY)
    name, call_id = "", ""
    if role == "tool":  # the answer of a function may be empty
        name, call_id = _text_field(fields, "name"), _text_field(fields, "tool_call_id")
    learned = role == "assistant" and is_learned(fields)
    return Message(role, content or "", learned, calls, name, call_id)


def _calls_of(fields: RowFields) -> tuple[ToolCall, ...]:
    """Return the calls of an assistant's turn, also in OpenAI's older field `function_call`."""
    calls: tuple[ToolCall, ...] = ()
    for name in ("tool_calls", "function_call"):
        if fields.has(name):
            fields.use(name)
            calls += tool_calls(decoded(fields.values[name]))
    return calls


def tool_calls(value: Any) -> tuple[ToolCall, ...]:
    """Return calls from OpenAI's objects or from names with arguments. Raises `LeftOut`."""
    found = []
    for item in value if isinstance(value, list) else [value]:
        call = item.get("function", item) if isinstance(item, dict) else None
        name = call.get("name") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(name, str) or not name.strip():
            raise LeftOut(known.BAD_CALL)
        arguments = call.get("arguments", call.get("parameters"))
        arguments = decoded(arguments) if isinstance(arguments, str) else arguments
        if not isinstance(arguments, dict | None):
            raise LeftOut(known.BAD_CALL)
        own = item.get("id")
        text = msgspec.json.encode(arguments or {}).decode()
        found.append(ToolCall(name, text, own if isinstance(own, str) else ""))
    return tuple(found)


def tools_of(fields: RowFields) -> str:
    """Return the definitions of the functions that a row has, as a JSON list; empty where it has
    none. Raises `LeftOut` for anything else than objects with a name."""
    for name in ("tools", "functions"):
        if not fields.has(name):
            continue
        fields.use(name)
        value = decoded(fields.values[name])
        found = []
        for item in value if isinstance(value, list) else [value]:
            definition = item.get("function", item) if isinstance(item, dict) else None
            if not isinstance(definition, dict) or not isinstance(definition.get("name"), str):
                raise LeftOut(known.BAD_TOOLS)
            found.append({"type": "function", "function": definition})
        return msgspec.json.encode(found).decode()
    return ""


def is_learned(fields: RowFields) -> bool:
    """Return whether an assistant turn is to be learned, by OpenAI's `weight` of a turn or
    Axolotl's `train`. A weight other than 0 and 1 counts as not used."""
    values = fields.values
    train = values.get("train")
    if isinstance(train, bool):
        fields.use("train")
    try:
        weight = float(values["weight"]) if "weight" in fields.unused else 1.0
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if weight <= 0 or weight == 1:
        fields.use("weight")
    return train is not False and not weight <= 0


def content_of(value: Any, name: str) -> str | None:
    """Return a text, also one in parts or a number; None where it is blank. Raises `LeftOut`."""
    if isinstance(value, list):
        texts = []
        for part in value:
            text = part.get("text") if isinstance(part, dict) else None
            if not isinstance(text, str) or part.get("type") not in (None, "text"):
                kind = str(part.get("type")) if isinstance(part, dict) else type(part).__name__
                raise LeftOut(known.PARTS, kind)
            texts.append(text)
        value = "".join(texts)
    if isinstance(value, float) and not math.isfinite(value):
        value = None if math.isnan(value) else str(value)  # NaN is an empty cell of a table
    if isinstance(value, bool | int | float):
        value = msgspec.json.encode(value).decode()
    if not isinstance(value, str | None):
        raise LeftOut(f"{name!r} is not text")
    return value if value is not None and value.strip() else None


def _text_field(fields: RowFields, name: str) -> str:
    value = fields.values.get(name)
    if not isinstance(value, str):
        return ""
    fields.use(name)
    return value


def decoded(value: Any) -> Any:
    """Return what JSON text stands for; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return value
