"""Questions of many kinds, with which the answers of a base without a golden set are kept."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tui_trainer.evaluation import answer_matching

FILE = Path(__file__).with_name("retained_questions.txt")
# Wordings of each corrected question with another subject, and how often a question of the same
# form as a corrected one is in the data instead of once.
OTHER_SUBJECTS = 2
SAME_FORM = 3
# What a subject is replaced with.
_SUBJECTS = (
    "bridge", "doctor", "river", "market", "engine", "castle", "window", "teacher", "mountain",
    "letter", "kitchen", "museum", "winter", "horse", "station", "island", "camera", "garden",
    "painter", "theatre", "lemon", "battery", "village", "carpet", "sailor", "novel", "forest",
    "hospital", "wheel", "planet",
)  # fmt: skip


class OwnQuestion(NamedTuple):
    """A question, and the key facts of a right answer (none: it has no single one); "/" separates
    other ways to write a fact."""

    text: str
    facts: list[str]


@cache
def own_questions() -> tuple[OwnQuestion, ...]:
    """The questions that are shipped with the program, in the file's order."""
    return tuple(read(FILE))


def read(file: Path) -> list[OwnQuestion]:
    """Reads questions, one a line, with their key facts after "|"."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            text, _, facts = line.partition("|")
            parts = [fact.strip() for fact in facts.split(",")]
            found.append(OwnQuestion(text.strip(), [part for part in parts if part]))
    return found


def other_subjects(question: str, count: int = OTHER_SUBJECTS) -> list[str]:
    """Up to `count` questions of the same form about something else; deterministic.

    All words that say what a question is about are replaced: how a question is asked is to decide
    nothing about its answer, only its subject. With some of them left, keeping the base's answer
    would be at odds with learning the corrected one.
    """
    if len(question) > 200 or "\n" in question:
        return []
    words = question.split()
    places = [i for i, word in enumerate(words) if i and _is_subject(word)]
    if not places:
        return []
    generator = random.Random(question)  # noqa: S311
    found = []
    for subject in generator.sample(_SUBJECTS, count):
        changed = list(words)
        for place in places:
            changed[place] = re.sub(r"\w[\w'-]*", subject, changed[place], count=1)
            subject = generator.choice(_SUBJECTS)
        found.append(" ".join(changed))
    return found


def repeated_by_form(questions: Sequence[str], corrected: Sequence[str]) -> list[int]:
    """How often each question is in the data: more often where its form is that of a corrected
    one, as those are the answers that a training changes most."""
    forms = {_form(question) for question in corrected}
    return [SAME_FORM if _form(question) in forms else 1 for question in questions]


def _form(question: str) -> tuple[str, ...]:
    return tuple(question.casefold().split()[:2])


def _is_subject(word: str) -> bool:
    bare = word.strip(".,;:?!\"'()").casefold()
    return len(bare) > 2 and bare not in answer_matching.FUNCTION_WORDS
