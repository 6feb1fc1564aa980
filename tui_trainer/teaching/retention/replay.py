"""Selects the answers that must be kept while corrections are learned."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.evaluation import answer_matching
from tui_trainer.evaluation import golden as golden_sets
from tui_trainer.store import paths
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.store.feedback.secret_scan import find_secrets
from tui_trainer.teaching.retention.retained_questions import repeated_by_form
from tui_trainer.teaching.training_rows import KnownAnswer, Row, newest, row

# One golden question in so many is never replayed, to measure the effect on untrained ones.
HELD_OUT_OF = 5
# Rows of the replay file, and the least share of earlier corrections in them: without it, a few
# corrections would hardly be drawn among a thousand golden answers.
MAX_ROWS = 1200
EARLIER_SHARE = 0.4
# Golden questions asked before and after a training: held-out and replayed ones.
ASKED_HELD_OUT, ASKED_REPLAYED = 300, 100
# The same of the base's own answers, which are longer.
ASKED_OWN_HELD_OUT, ASKED_OWN_REPLAYED = 40, 20
# The newest questions of the conversation that are asked again.
MAX_FROM_HISTORY = 40


@dataclass(frozen=True)
class RetentionReserve:
    """Golden questions that may be replayed, those that never are, and earlier corrections.

    `unasked` is replayed but not counted in what is kept, as nobody has confirmed it. `retained`
    are answers of the base itself, whose predictions are kept instead of the answers alone, and
    `null_space` some of them, the same in every training.
    """

    replayed: list[KnownAnswer]
    held_out: list[KnownAnswer]
    earlier: list[KnownAnswer]
    unasked: list[KnownAnswer] = field(default_factory=list)
    retained: list[KnownAnswer] = field(default_factory=list)
    null_space: list[KnownAnswer] = field(default_factory=list)


def golden(model: str) -> list[KnownAnswer]:
    """Reads the golden set: `golden.jsonl` in the home folder, else the built-in base's own.

    Raises `UserError` for a line that has no question or no answer.
    """
    own = golden_sets.own_file()
    if own.exists():
        return read_golden(own)
    return read_golden(paths.builtin_model() / "questions.jsonl") if model == "builtin" else []


def earlier(examples: Sequence[RatedExample]) -> list[KnownAnswer]:
    """What was learned in earlier trainings, only the newest answer to each question."""
    done = [e for e in examples if not e.dropped and e.trained_in is not None]
    return [
        KnownAnswer(turns=e.turns, answer=e.right_answer or "", source="earlier")
        for e in newest(done)
    ]


def asked_before(
    conversation: ConversationStore, examples: Sequence[RatedExample]
) -> list[list[Turn]]:
    """Questions of the conversation whose answers were not rated, newest first. Those that look
    like a secret are left out, as replayed answers are learned."""
    rated = {answer_matching.question_key(example.question) for example in examples}
    found: dict[str, list[Turn]] = {}
    for question, answer in itertools.pairwise(conversation.recorded()):
        key = answer_matching.question_key(question.content)
        complete = question.role == "user" and answer.role == "assistant" and not answer.cancelled
        secret = find_secrets(question.content) or find_secrets(answer.content)
        if complete and key and key not in rated and answer.content.strip() and not secret:
            found.pop(key, None)
            found[key] = [Turn("user", question.content)]
    return list(found.values())[::-1][:MAX_FROM_HISTORY]


def split_held_out(known: Iterable[KnownAnswer]) -> tuple[list[KnownAnswer], list[KnownAnswer]]:
    """Splits into what may be replayed and what is held out: the same questions in every
    training, so that no held-out one was replayed for a parent adapter."""
    replayed: list[KnownAnswer] = []
    held_out: list[KnownAnswer] = []
    for item in known:
        (held_out if _held_out(item.question) else replayed).append(item)
    return replayed, held_out


def without_corrected(
    known: Sequence[KnownAnswer], corrections: Sequence[RatedExample]
) -> list[KnownAnswer]:
    """The answers that are still valid after the corrections.

    Left out are the corrected questions, and rewordings of them: questions with the answer that
    was wrong that share the rarest word of a corrected question, and of the base's own answers
    those to questions about the same words.
    """
    frequency = Counter(word for item in known for word in answer_matching.words(item.question))
    asked = {answer_matching.question_key(example.question) for example in corrections}
    subjects = [
        answer_matching.words(example.question) - answer_matching.FUNCTION_WORDS
        for example in corrections
    ]
    subjects = [subject for subject in subjects if subject]
    wrong_answers = [
        (
            answer_matching.normalize_spaces(example.answer).casefold(),
            _rarest(example.question, frequency),
        )
        for example in corrections
        if answer_matching.normalize_spaces(example.answer)
        != answer_matching.normalize_spaces(example.right_answer or "")
    ]

    def overruled(item: KnownAnswer) -> bool:
        answer, own = (
            answer_matching.normalize_spaces(item.answer).casefold(),
            answer_matching.words(item.question),
        )
        if any(answer == wrong and own & rare for wrong, rare in wrong_answers):
            return True
        subject = own - answer_matching.FUNCTION_WORDS
        return item.source == "own" and any(
            subject and (subject <= other or other <= subject) for other in subjects
        )

    return [
        k
        for k in known
        if answer_matching.question_key(k.question) not in asked and not overruled(k)
    ]


def replay_rows(reserve: RetentionReserve, seed: int) -> list[Row]:
    """The rows that are replayed, a few in every step."""
    generator = random.Random(seed)  # noqa: S311
    golden = _sample([*reserve.unasked, *reserve.replayed], MAX_ROWS, generator)
    corrections = _sample(reserve.earlier, MAX_ROWS, generator)
    repeats = 1
    if golden and corrections:
        wanted = EARLIER_SHARE / (1 - EARLIER_SHARE) * len(golden)
        repeats = max(1, round(wanted / len(corrections)))
    return [row(item.turns, item.answer) for item in [*golden, *(corrections * repeats)]]


def retained_rows(reserve: RetentionReserve, corrections: Sequence[str], seed: int) -> list[Row]:
    """The rows on which the base's predictions are kept, those in the form of a corrected question
    more than once, in a mixed order."""
    items = reserve.retained
    repeats = repeated_by_form([item.question for item in items], corrections)
    rows = [
        row(item.turns, item.answer)
        for item, count in zip(items, repeats, strict=True)
        for _ in range(count)
    ]
    random.Random(seed).shuffle(rows)  # noqa: S311
    return rows


def questions_to_check(reserve: RetentionReserve, seed: int) -> list[KnownAnswer]:
    """The questions that are asked before and after the training."""
    generator = random.Random(seed)  # noqa: S311
    if reserve.retained:
        sure = [item for item in reserve.retained if item.facts]
        return [
            *_sample(reserve.held_out, ASKED_OWN_HELD_OUT, generator),
            *_sample(sure, ASKED_OWN_REPLAYED, generator),
            *reserve.earlier,
        ]
    return [
        *_sample(reserve.held_out, ASKED_HELD_OUT, generator),
        *_sample(reserve.replayed, ASKED_REPLAYED, generator),
        *reserve.earlier,
    ]


def _sample(items: Sequence[KnownAnswer], most: int, generator: random.Random) -> list[KnownAnswer]:
    return list(items) if len(items) <= most else generator.sample(list(items), most)


def _held_out(question: str) -> bool:
    digest = hashlib.sha256(answer_matching.question_key(question).encode()).digest()
    return digest[0] % HELD_OUT_OF == 0


def _rarest(question: str, frequency: Counter[str]) -> set[str]:
    """The words of the question that occur in the fewest known questions."""
    own = {word: frequency[word] for word in answer_matching.words(question) if frequency[word]}
    return {word for word, count in own.items() if count == min(own.values())}


def read_golden(file: Path) -> list[KnownAnswer]:
    """Reads a golden set. Raises `UserError` that names a bad line."""
    return [
        KnownAnswer(
            turns=[Turn("user", item.question)],
            answer=item.answer,
            source="golden",
            facts=item.facts,
        )
        for item in golden_sets.read(file)
    ]
