"""Which fields of a row are known, and which of them keep it from being taught.

The rule: a field that holds something is used, or it keeps the row out (`LeftOut`), or it is
counted as not used. A shape of rows uses fields with `Fields.use`; what it has not used is counted,
a known field row by row, any other by its name. A new shape adds its fields here and a function to
rows.py.
"""

from __future__ import annotations

import math
from typing import Any

# (question field, answer field), tried in this order; `instruction` may have an `input` too.
PAIRS = (
    ("instruction", "output"),
    ("prompt", "completion"),
    ("question", "answer"),
    ("query", "response"),
)
LABELS = ("label", "category")
SYSTEMS = ("system", "system_prompt")
PREFERENCE = ("chosen", "rejected")
GROUP = "tui_trainer_group"  # written by teaching: rows with the same one teach the same answer

# Fields that say of an answer whether it is right: `label` as in TRL's unpaired preferences,
# `kto_tag` as in LLaMA-Factory's. Ratings and scores are no such marks: nobody knows their scale.
MARKS = ("label", "kto_tag", "desirable", "is_desirable", "correct", "is_correct")
_RIGHT = frozenset({"true", "good", "right", "correct", "desirable", "chosen"})
_WRONG = frozenset({"false", "bad", "wrong", "incorrect", "undesirable", "rejected"})
# Numbers that are marks; any other number in the column means that it holds classes or indices.
MARK_NUMBERS = frozenset({-1.0, 0.0, 1.0})

EMPTY = "empty"
TOOLS = "tool calls or tool definitions, which are not supported yet"
MEDIA = "images, audio or video, which are not supported"
PARTS = "content in parts that are not text, which is not supported"
PAIRED = "a preference pair (chosen, rejected) and no answer field; pairs are not supported yet"
HISTORY_BESIDE = "'history' beside 'messages', which is not supported"
HISTORY_SHAPE = "'history' is not a list of [question, answer] pairs"
ROLE = "a role that is none of system, developer, user, assistant, tool"
NO_ANSWER = "'messages' has no assistant turn, so there is no answer"
NOT_LEARNED = "every assistant turn has weight 0 or train = false"
NO_WEIGHT = "weight 0"

_MEDIA_FIELDS = ("image", "images", "audio", "audios", "video", "videos")
_CALLS = dict.fromkeys(("tools", "functions", "tool_calls", "function_call"), TOOLS)
# Fields beside a question and its answer without which the answer would be taught wrongly.
BARS = {**_CALLS, **dict.fromkeys(_MEDIA_FIELDS, MEDIA)}

KNOWN = frozenset(
    {
        *(name for pair in PAIRS for name in pair),
        *(*LABELS, *SYSTEMS, *PREFERENCE, *MARKS, *BARS),
        *("messages", "conversations", "text", "input", "history", "context", "weight"),
        *(f"messages.{name}" for name in ("weight", "reasoning_content", "thinking", "refusal")),
    }
)


class LeftOut(Exception):  # noqa: N818  (no error: the row is counted)
    """A row that cannot be taught rightly. `reason` is the same for all rows of its kind, `detail`
    says what this one has."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class RowFields:
    """The fields of a row or a turn. `unused` are those that hold something and have not been used;
    `numbers` are marks that are numbers, to be judged when the whole column is known."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.unused = {name: None for name, value in values.items() if holds(value)}  # in order
        self.numbers: dict[str, float] = {}

    def use(self, *names: str) -> None:
        """Takes note that fields are used."""
        for name in names:
            self.unused.pop(name, None)

    def has(self, name: str) -> bool:
        """Whether a field for lists or objects holds something; tables write empty ones as text."""
        if name not in self.unused:
            return False
        value = self.values[name]
        if isinstance(value, str) and value.strip() in ("[]", "{}", "null"):
            self.use(name)
            return False
        return True

    def check_bars(self, bars: dict[str, str]) -> None:
        """Raises `LeftOut` for a field that the row cannot be taught with."""
        for name, reason in bars.items():
            if self.has(name):
                raise LeftOut(reason)

    def check_marks(self, *, numbers: bool = True) -> None:
        """Raises `LeftOut` for an answer that is marked as wrong; with `numbers` keeps marks that
        are numbers, else they are none."""
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
    """The reason for leaving out an answer that a field marks as wrong."""
    return f"marked as a wrong answer by {name!r}"


def holds(value: Any) -> bool:
    """Whether an optional field holds anything: not null, blank, or empty all through."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, dict):
        return any(map(holds, value.values()))
    if isinstance(value, list):
        return any(map(holds, value))
    return True


def _mark(value: Any) -> bool | float | None:
    """A mark as a truth value or a number; None for what is no mark."""
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


def shown(name: str) -> str:
    """A name or value of the data as it can stand in a sentence."""
    short = name if len(name) <= 40 else f"{name[:39]}…"
    return short if short.isprintable() else ascii(short)
