"""The known fields of rows, and those that make a row unusable.

The rule: a field with content is used, or it makes the row unusable (`LeftOut`), or it is counted
as not used. The parsers in row_formats.py mark fields as used with `RowFields.use`; of the
others a known field is counted row by row, any other is listed by its name. A new row format adds
its fields here and a function to row_formats.py.
"""

from __future__ import annotations

import math
from typing import Any

# Fields with a conversation, tried in this order.
CONVERSATIONS = ("messages", "conversations", "conversation", "dialog", "dialogue", "turns")
# Of these, fields that may hold texts by the user and the assistant in turn, as in LIMA.
ALTERNATING = ("conversations", "conversation", "dialog", "dialogue")
# A question field goes with any answer field: first these pairs, then both in their order.
PAIRS = (
    *(("instruction", "output"), ("prompt", "completion"), ("question", "answer")),
    *(("query", "response"), ("problem", "solution"), ("user", "assistant")),
    *(("message_1", "message_2"), ("inputs", "targets")),
)
QUESTIONS = (
    *("instruction", "prompt", "question", "query", "input", "problem", "user", "human"),
    *("inputs", "message_1"),
)
ANSWERS = (
    *("output", "completion", "answer", "response", "solution", "assistant", "targets"),
    "message_2",
)
# Beside a question: what it is about, which follows it.
MATERIAL = ("input", "context")
LABELS = ("label", "category")
SYSTEMS = ("system", "system_prompt")
PREFERENCE = ("chosen", "rejected")
GROUP = "tui_trainer_group"  # written by teaching: rows with the same one teach the same answer

# Fields that mark an answer as right or wrong: `label` as in TRL's unpaired preferences, `kto_tag`
# as in LLaMA-Factory's. Ratings and scores are not marks, since their scale is unknown.
MARKS = ("label", "kto_tag", "desirable", "is_desirable", "correct", "is_correct")
_RIGHT = frozenset({"true", "good", "right", "correct", "desirable", "chosen"})
_WRONG = frozenset({"false", "bad", "wrong", "incorrect", "undesirable", "rejected"})
# Numbers that can be marks; any other number in the column means that it has classes or indices.
MARK_NUMBERS = frozenset({-1.0, 0.0, 1.0})

EMPTY = "empty"
NOT_TURNS = "the conversation is not a list of turns with role and content"
BAD_CALL = "a tool call is not a function's name with an object of arguments"
BAD_TOOLS = "the definitions of tools are not a list of functions with a name"
CALLS_BESIDE = "tool calls beside the conversation instead of in a turn"
# Beside `text`: the row is one turn of a tree of messages, as in OpenAssistant.
TREE = ("parent_id", "message_tree_id")
MEDIA = "images, audio or video, which are not supported"
PARTS = "content in parts that are not text, which is not supported"
NO_QUESTION = "a preference pair (chosen, rejected) without the question"
OTHER_QUESTION = "the chosen conversation does not have the row's question"
BAD_WEIGHT = "the weight is not a number above 0"
NOT_RECOGNISED = "fields not recognised"
ONE_TURN = "one turn of a conversation in each row; write each conversation as one row"
CHAT_TEXT = "'chat' is a text with its speakers; write it as a list of turns in 'messages'"
NESTED = "'answers' is nested, as in SQuAD; write one answer per row"
HISTORY_SHAPE = "'history' is not a list of [question, answer] pairs"
ROLE = "a role other than system, developer, user, assistant, tool"
NO_ANSWER = "the conversation has no assistant turn, so there is no answer"
NOT_LEARNED = "every assistant turn has weight 0 or train = false"
NO_WEIGHT = "weight 0"

_MEDIA_FIELDS = ("image", "images", "audio", "audios", "video", "videos")
# Fields that an answer depends on and that cannot be used: the row is left out.
UNSUPPORTED = dict.fromkeys(_MEDIA_FIELDS, MEDIA)

KNOWN = frozenset(
    {
        *(*CONVERSATIONS, *QUESTIONS, *ANSWERS, *MATERIAL),
        *(*LABELS, *SYSTEMS, *PREFERENCE, *MARKS, *UNSUPPORTED),
        *("text", "history", "weight", "tools", "functions", "tool_calls", "function_call"),
        *(f"messages.{name}" for name in ("weight", "reasoning_content", "thinking", "refusal")),
    }
)


class LeftOut(Exception):  # noqa: N818  (not an error: the row is counted)
    """A row that cannot be used for training. `reason` is the same for all rows of its kind,
    `detail` is what this one contains."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class RowFields:
    """The fields of a row or a turn, and which of them were used."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        # Names of fields that have content and were not used, as an ordered set.
        self.unused = {name: None for name, value in values.items() if has_content(value)}
        # Marks that are numbers; what they mean depends on the whole column.
        self.numbers: dict[str, float] = {}
        self.shape = ""  # how the row was recognised, such as `question/answer`

    def use(self, *names: str) -> None:
        """Mark fields as used."""
        for name in names:
            self.unused.pop(name, None)

    def has(self, name: str) -> bool:
        """Return whether a field for lists or objects has content; in tables `[]` is a text."""
        if name not in self.unused:
            return False
        value = self.values[name]
        if isinstance(value, str) and value.strip() in ("[]", "{}", "null"):
            self.use(name)
            return False
        return True

    def check_unsupported(self, reasons: dict[str, str]) -> None:
        """Raise `LeftOut` where a field among `reasons` has content."""
        for name, reason in reasons.items():
            if self.has(name):
                raise LeftOut(reason)

    def check_marks(self, *, numbers: bool = True) -> None:
        """Raise `LeftOut` for an answer that is marked as wrong. Marks that are numbers are put
        into `self.numbers`, or with `numbers=False` not treated as marks."""
        for name in MARKS:
            if name not in self.unused:
                continue
            mark = _mark(self.values[name])
            if mark is False:
                raise LeftOut(marked_wrong(name))
            if mark is True:
                self.use(name)
            elif mark is not None and numbers:
                self.use(name)
                self.numbers[name] = mark


def marked_wrong(name: str) -> str:
    """Return the reason for leaving out an answer that a field marks as wrong."""
    return f"marked as a wrong answer by {name!r}"


def has_content(value: Any) -> bool:
    """Return whether a value is not null, blank, or a container of only such values."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, dict):
        return any(map(has_content, value.values()))
    if isinstance(value, list):
        return any(map(has_content, value))
    return True


def _mark(value: Any) -> bool | float | None:
    """Return a mark as a truth value or a number; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().casefold()
        if word in _RIGHT or word in _WRONG:
            return word in _RIGHT
    if isinstance(value, str | int | float):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None
    return None


def printable(name: str) -> str:
    """Return a name or value of the data in a form for messages: short and printable."""
    short = name if len(name) <= 40 else f"{name[:39]}…"
    return short if short.isprintable() else ascii(short)
