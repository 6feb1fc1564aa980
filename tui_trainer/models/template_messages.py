"""Turns as the messages that chat templates of `transformers` read, and their rendering."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from tui_trainer.contracts.errors import UserError

Messages = list[dict[str, Any]]

_MOST_REASON = 160  # characters of a template's own error
# How templates name the thought before an answer.
_THOUGHT_KEYS = ("reasoning_content", "thinking")
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>(.*)", re.DOTALL)
_PROBE = "Qzkvelm"  # a word that no template contains


class RenderedTurns(Protocol):
    """A turn of a conversation; `tool_calls`, `name` and `call_id` are read where it has them."""

    @property
    def role(self) -> str: ...

    @property
    def content(self) -> str: ...


class _CallStyle(NamedTuple):
    """How tool calls are given, in which templates differ."""

    as_object: bool = True  # the arguments: an object, else text
    empty: bool = True  # the content beside calls: empty, else none
    given: bool = True  # identifiers: as in the data, else nine letters and digits, as in Mistral's


_CALL_STYLES = [_CallStyle(o, e, g) for g, e, o in itertools.product((True, False), repeat=3)]


class TemplateRenderer:
    """A tokenizer's chat template, and what is known about it."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.special = tuple(
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        )
        longest_first = sorted(self.special, key=len, reverse=True)
        self._any_special = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._template = str(tokenizer.chat_template or "")
        self._style: _CallStyle | None = None
        self._thought_key: str | None = None  # empty: thoughts are part of the content
        self._parts: bool | None = None  # whether contents are lists of parts
        self._writes: dict[str, bool] = {}

    def messages(self, turns: Sequence[RenderedTurns]) -> Messages:
        """Return the turns as messages. Raises `UserError` for tool calls that the template does
        not write."""
        style = self._call_style() if any(_calls(turn) for turn in turns) else _CallStyle()
        try:
            messages = _messages(turns, style)
        except msgspec.DecodeError as error:
            raise UserError(f"the arguments of a tool call are not JSON: {error}") from error
        for message in messages:
            if message["role"] == "assistant" and message["content"]:
                self._set_thought_apart(message)
        return messages

    def _set_thought_apart(self, message: dict[str, Any]) -> None:
        """Give a thought at the start of an answer as the template reads it."""
        found = _THOUGHT.match(message["content"])
        if found is None:
            return
        if self._thought_key is None:
            self._thought_key = next(filter(self._writes_thought, _THOUGHT_KEYS), "")
        if self._thought_key:
            message[self._thought_key] = found[1].strip()
            message["content"] = found[2].lstrip("\n")

    def _writes_thought(self, key: str) -> bool:
        answer = {"role": "assistant", "content": "?", key: _PROBE}
        try:
            return key in self._template and _PROBE in self.render(
                [{"role": "user", "content": "?"}, answer], ask=False
            )
        except UserError:
            return False

    def common_length(self, one: str, other: str) -> int:
        """Return the length of the longest common prefix, which ends inside no special token."""
        if other.startswith(one):
            return len(one)
        pairs = enumerate(zip(one, other, strict=False))
        length = next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
        for text in (one, other):
            for token in self._any_special.finditer(text):
                if token.start() < length < token.end():
                    length = token.start()
        return length

    def special_at(self, text: str, position: int) -> str:
        """Return the special token at a position of a text, with the white space before it; empty
        without one."""
        start = position + len(text[position:]) - len(text[position:].lstrip())
        found = self._any_special.match(text, start)
        return text[position : found.end()] if found and found[0] else ""

    def render(self, messages: Messages, *, ask: bool, tools: str = "") -> str:
        """Return the conversation in the template; with `ask` up to where an answer starts.

        Without a template every turn is a line, and answers end with the end-of-text token. Raises
        `UserError` for conversations that the template refuses.
        """
        if not self.tokenizer.chat_template:
            return self._lines(messages)
        if self._parts is None:
            self._parts = False
            self._parts = self._needs_parts()
        if self._parts:
            messages = [{**m, "content": _as_parts(m["content"])} for m in messages]
        return self._apply(messages, ask=ask, tools=tools)

    def _apply(self, messages: Messages, *, ask: bool, tools: str = "") -> str:
        given: dict[str, Any] = {"tools": _definitions(tools)} if tools else {}
        try:
            text: str = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=ask, **given
            )
        except Exception as error:  # templates may raise anything
            reason = " ".join(str(error).split())[:_MOST_REASON]
            raise UserError(
                f"the base's chat template refuses the conversation: {reason}"
            ) from error
        return text

    def _needs_parts(self) -> bool:
        """Return whether the template reads contents only as lists of parts, as templates for
        texts and images do."""
        if "type" not in self._template:
            return False
        for content, wanted in ((_PROBE, False), (_as_parts(_PROBE), True)):
            with contextlib.suppress(UserError):
                if _PROBE in self._apply([{"role": "user", "content": content}], ask=True):
                    return wanted
        return False

    def _lines(self, messages: Messages) -> str:
        if any(m["role"] == "tool" or "tool_calls" in m for m in messages):
            raise UserError("the base has no chat template, which tool calls need")
        end = self.tokenizer.eos_token or ""
        return "".join(m["content"] + (end if m["role"] == "assistant" else "\n") for m in messages)

    def writes(self, what: str) -> bool:
        """Return whether the template writes turns of a role (`what` is its name), or definitions
        of tools (`what` is `tools`)."""
        if what not in self._writes:
            self._writes[what] = self._tries(what)
        return self._writes[what]

    def _tries(self, what: str) -> bool:
        question = {"role": "user", "content": "?"}
        call = {"name": "f", "arguments": {}}
        shapes: dict[str, Messages] = {
            "system": [{"role": "system", "content": _PROBE}, question],
            "tool": [
                question,
                {"role": "assistant", "content": "", "tool_calls": [_call(call, "call00001")]},
                {"role": "tool", "content": _PROBE, "name": "f", "tool_call_id": "call00001"},
            ],
        }
        definition = {"name": _PROBE, "description": _PROBE, "parameters": _NO_PARAMETERS}
        tools = msgspec.json.encode([definition]).decode() if what == "tools" else ""
        plain: Messages = [question if tools else {"role": what, "content": _PROBE}]
        try:
            return _PROBE in self.render(shapes.get(what, plain), ask=True, tools=tools)
        except UserError:
            return False

    def _call_style(self) -> _CallStyle:
        """Return how calls are given so that the template writes them. Raises `UserError`."""
        if self._style is not None:
            return self._style
        reason = ""
        for style in _CALL_STYLES:
            arguments: Any = {"key": "value"} if style.as_object else '{"key": "value"}'
            identifier = "call_1" if style.given else "call00001"
            call = _call({"name": _PROBE, "arguments": arguments}, identifier)
            content = "" if style.empty else None
            turn = {"role": "assistant", "content": content, "tool_calls": [call]}
            try:
                text = self.render([{"role": "user", "content": "?"}, turn], ask=False)
            except UserError as error:
                reason = reason or str(error)
                continue
            if _PROBE in text and "value" in text:
                self._style = style
                return style
            reason = reason or "the base's chat template does not write tool calls"
        raise UserError(reason)


_NO_PARAMETERS = {"type": "object", "properties": {}}


def _messages(turns: Sequence[RenderedTurns], style: _CallStyle) -> Messages:
    made: Messages = []
    open_calls: list[tuple[str, str]] = []  # identifier and function, not answered yet
    count = itertools.count(1)
    identifiers: dict[str, str] = {}
    for turn in turns:
        message: dict[str, Any] = {"role": turn.role, "content": turn.content}
        calls = _calls(turn)
        if calls:
            message["content"] = turn.content if turn.content or style.empty else None
            message["tool_calls"] = []
            for call in calls:
                keep = call.id and (style.given or _is_plain(call.id))
                identifier = call.id if keep else f"call{next(count):05d}"
                identifiers[call.id or identifier] = identifier
                open_calls.append((identifier, call.name))
                parsed = msgspec.json.decode(call.arguments or "{}")
                arguments = parsed if style.as_object else call.arguments or "{}"
                message["tool_calls"].append(
                    _call({"name": call.name, "arguments": arguments}, identifier)
                )
        elif turn.role == "tool":
            given = getattr(turn, "call_id", "")
            wanted, name = identifiers.get(given, given), getattr(turn, "name", "")
            answered = next(
                (c for c in open_calls if c[0] == wanted or (not wanted and name in ("", c[1]))),
                None,
            )
            if answered is not None:
                open_calls.remove(answered)
            message["name"] = name or (answered[1] if answered else "")
            message["tool_call_id"] = answered[0] if answered else wanted
        made.append(message)
    return made


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _calls(turn: RenderedTurns) -> Sequence[Any]:
    return getattr(turn, "tool_calls", ())


def _is_plain(identifier: str) -> bool:
    return len(identifier) == 9 and identifier.isascii() and identifier.isalnum()


def _call(function: dict[str, Any], identifier: str) -> dict[str, Any]:
    return {"type": "function", "id": identifier, "function": function}


def _definitions(tools: str) -> list[Any]:
    """Return definitions of tools, each in the form that `transformers` documents."""
    found = msgspec.json.decode(tools)
    return [
        {"type": "function", "function": item}
        if isinstance(item, dict) and "name" in item and "function" not in item
        else item
        for item in found
    ]
