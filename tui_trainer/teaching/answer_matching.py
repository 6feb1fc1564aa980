"""Compares questions and answers."""

from __future__ import annotations

import difflib
import re

# Answers of more words than this are compared by similarity instead of exactly.
EXACT_WORDS = 12
MIN_SIMILARITY = 0.6
_WORD = re.compile(r"\w+")


def normalize_spaces(text: str) -> str:
    """The text with each run of white space as one space."""
    return " ".join(text.split())


def question_key(question: str) -> str:
    """A key that is equal for questions that differ only in case and white space."""
    return normalize_spaces(question).casefold()


def recalled(taught: str, answer: str) -> bool:
    """Whether an answer equals the taught one, apart from white space."""
    return normalize_spaces(taught) == normalize_spaces(answer)


def kept(expected: str, answer: str) -> bool:
    """Whether an earlier answer is still given.

    A long one need not be identical, as any training changes some of its words: it counts as
    kept where the words' `SequenceMatcher` ratio is at least `MIN_SIMILARITY`.
    """
    if recalled(expected, answer):
        return True
    before, now = expected.split(), answer.split()
    if len(before) <= EXACT_WORDS:
        return False
    return difflib.SequenceMatcher(None, before, now, autojunk=False).ratio() >= MIN_SIMILARITY


def words(text: str) -> set[str]:
    """The set of words of a text, case-folded."""
    return set(_WORD.findall(text.casefold()))
