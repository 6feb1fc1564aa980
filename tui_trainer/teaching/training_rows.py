"""Turns examples into the rows of a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.evaluation import answer_matching, golden
from tui_trainer.store import atomic
from tui_trainer.teaching.paraphrases import reworded

Row = dict[str, Any]
# How often a question is in the data as it was asked, in addition to its rewordings.
AS_ASKED = 2
# The field of a row that the engine reads as its group (`engine.data.known_fields.GROUP`).
GROUP = "tui_trainer_group"
# Least average bytes per token of running text, to estimate what fits without the base's
# tokenizer. Template and answer must fit too.
_BYTES_PER_TOKEN = 3


class KnownAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A question with its expected answer; `turns` ends with the question.

    `source`: golden, taught, earlier (learned before), history (asked before) or own (an answer of
    the base to a question of `retained_questions.txt`). `facts`: the key facts of a right answer,
    "/" separates other ways to write one; without any, the answer itself counts.
    """

    turns: list[Turn]
    answer: str
    source: str
    facts: list[str] = []

    @property
    def question(self) -> str:
        """The last turn's text."""
        return self.turns[-1].content

    def is_kept_by(self, answer: str) -> bool:
        """Whether an answer says what the expected one says."""
        if self.source == "own" and not self.facts:
            return answer_matching.same_facts(self.question, self.answer, answer)
        return golden.is_right(self.answer, self.facts, answer)


def teachable(example: RatedExample) -> bool:
    """Whether an example has a question and a right answer."""
    return bool(example.question.strip() and (example.right_answer or "").strip())


def newest(examples: Sequence[RatedExample]) -> list[RatedExample]:
    """The teachable examples, only the newest of each question."""
    by_question = {answer_matching.question_key(e.question): e for e in examples if teachable(e)}
    return list(by_question.values())


def training_rows(
    examples: Sequence[RatedExample],
    max_tokens: int,
    rewordings: int,
    *,
    loose: bool = True,
    grouped: bool = False,
) -> list[Row]:
    """The rows of a training: each question as asked and in up to `rewordings` other wordings, with
    `loose` also in some that are not good English. With `grouped` the engine learns which rows
    teach the same answer, and takes one of each into a step.

    Weights are proportional to the ratings (critical 10, good 1) with a mean of 1 over the
    examples, so that replayed answers keep their share.
    """
    if not examples:
        return []
    mean = sum(example.weight for example in examples) / len(examples)
    rows = []
    for example in examples:
        answer = example.right_answer or ""
        weight = example.weight / mean
        variants = [*_as_asked(example), *_reworded(example, rewordings, loose)]
        rows += [
            row(fitting(turns, answer, max_tokens), answer, weight, example.id if grouped else "")
            for turns in variants
        ]
    return rows


def row(turns: Sequence[Turn], answer: str, weight: float = 1.0, group: str = "") -> Row:
    """One conversation of which only the last answer is learned, as earlier ones are the model's
    own. Rows of the same `group` teach the same answer."""
    messages: list[dict[str, Any]] = [_message(turn) for turn in turns]
    found: Row = {
        "messages": [*messages, {"role": "assistant", "content": answer}],
        "weight": weight,
    }
    return found | {GROUP: group} if group else found


def fitting(turns: Sequence[Turn], answer: str, max_tokens: int) -> list[Turn]:
    """The conversation without the oldest turns where it would exceed `max_tokens`; a leading
    system turn and the question are always kept."""
    opening = list(turns[:1]) if turns[0].role == "system" and len(turns) > 1 else []
    rest = list(turns[len(opening) :])
    room = max_tokens * _BYTES_PER_TOKEN - len(answer.encode())
    while len(rest) > 1 and sum(len(t.content.encode()) + 24 for t in [*opening, *rest]) > room:
        rest.pop(0)
        while len(rest) > 1 and rest[0].role != "user":
            rest.pop(0)
    return opening + rest


def write_rows(file: Path, rows: Sequence[Row]) -> None:
    """Writes rows as JSON lines, readable by the user only."""
    atomic.write_bytes(file, b"".join(msgspec.json.encode(item) + b"\n" for item in rows))


def _as_asked(example: RatedExample) -> list[list[Turn]]:
    """The question with and without the conversation before it, as it will be asked again in
    other conversations."""
    alone = _without_history(example)
    turns = example.turns if all(turn.content.strip() for turn in example.turns) else alone
    return [turns, *([alone] * (AS_ASKED - 1))]


def _reworded(example: RatedExample, count: int, loose: bool) -> list[list[Turn]]:
    *before, question = _without_history(example)
    return [
        [*before, Turn(question.role, wording)]
        for wording in reworded(question.content, count, loose=loose)
    ]


def _without_history(example: RatedExample) -> list[Turn]:
    """The question without the conversation before it, but with a leading system turn."""
    first = example.turns[0]
    opening = [first] if first.role == "system" and len(example.turns) > 1 else []
    return [*opening, example.turns[-1]]


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.role == "assistant":
        message["weight"] = 0
    return message
