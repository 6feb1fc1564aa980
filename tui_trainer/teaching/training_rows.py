"""From examples to the rows that a training reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.feedback import RatedExample, Turn
from tui_trainer.store import atomic
from tui_trainer.teaching import answer_matching
from tui_trainer.teaching.paraphrases import reworded

Row = dict[str, Any]
# How often a question stands in the data as it was asked, beside its other wordings.
AS_ASKED = 2
# Bytes that a token has at least, on average, in running text: to judge what fits before the
# base's tokenizer is at hand. Template and answer have to fit too.
_BYTES_PER_TOKEN = 3


class KnownAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A question with the answer that is to be given to it, `turns` ending with the question.

    `source`: golden, earlier (rated good, or taught before) or history (asked before).
    """

    turns: list[Turn]
    answer: str
    source: str

    @property
    def question(self) -> str:
        """The last turn's text."""
        return self.turns[-1].content


def teachable(example: RatedExample) -> bool:
    """Whether there is something to ask and something to answer."""
    return bool(example.question.strip() and (example.right_answer or "").strip())


def newest(examples: Sequence[RatedExample]) -> list[RatedExample]:
    """The teachable examples, only the newest for each question."""
    by_question = {answer_matching.question_key(e.question): e for e in examples if teachable(e)}
    return list(by_question.values())


def training_rows(examples: Sequence[RatedExample], max_tokens: int, rewordings: int) -> list[Row]:
    """The rows of a training: each question as asked and in up to `rewordings` others.

    Weights have the mean 1 over the examples, in the proportion of their ratings: a critical
    one counts ten times as much as a good one, and replayed answers keep their share.
    """
    if not examples:
        return []
    mean = sum(example.weight for example in examples) / len(examples)
    rows = []
    for example in examples:
        answer = example.right_answer or ""
        weight = example.weight / mean
        ways = [*_as_asked(example), *_otherwise(example, rewordings)]
        rows += [row(fitting(turns, answer, max_tokens), answer, weight) for turns in ways]
    return rows


def row(turns: Sequence[Turn], answer: str, weight: float = 1.0) -> Row:
    """One conversation of which only the last answer is learned: earlier ones are what the
    model happened to say."""
    messages: list[dict[str, Any]] = [_message(turn) for turn in turns]
    return {
        "messages": [*messages, {"role": "assistant", "content": answer}],
        "weight": weight,
    }


def fitting(turns: Sequence[Turn], answer: str, max_tokens: int) -> list[Turn]:
    """The conversation without the oldest turns that would not fit (never a leading system
    turn, nor the question)."""
    opening = list(turns[:1]) if turns[0].role == "system" and len(turns) > 1 else []
    rest = list(turns[len(opening) :])
    room = max_tokens * _BYTES_PER_TOKEN - len(answer.encode())
    while len(rest) > 1 and sum(len(t.content.encode()) + 24 for t in [*opening, *rest]) > room:
        rest.pop(0)
        while len(rest) > 1 and rest[0].role != "user":
            rest.pop(0)
    return opening + rest


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Writes rows as JSON lines, for the user alone."""
    atomic.write_bytes(file, b"".join(msgspec.json.encode(item) + b"\n" for item in rows))


def _as_asked(example: RatedExample) -> list[list[Turn]]:
    """Asked in the middle of a conversation, a question is learned with and without it: it
    will be asked again where other things were said before."""
    alone = _alone(example)
    said = example.turns if all(turn.content.strip() for turn in example.turns) else alone
    return [said, *([alone] * (AS_ASKED - 1))]


def _otherwise(example: RatedExample, count: int) -> list[list[Turn]]:
    *before, question = _alone(example)
    return [[*before, Turn(question.role, way)] for way in reworded(question.content, count)]


def _alone(example: RatedExample) -> list[Turn]:
    """The question without the conversation before it, but with the system's word."""
    first = example.turns[0]
    opening = [first] if first.role == "system" and len(example.turns) > 1 else []
    return [*opening, example.turns[-1]]


def _message(turn: Turn) -> dict[str, Any]:
    said: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.role == "assistant":
        said["weight"] = 0
    return said
