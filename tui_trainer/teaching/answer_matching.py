"""Comparing questions and answers."""

from __future__ import annotations

import difflib
import re

# Answers of more words than this are compared by their likeness, not letter by letter.
SHORT_WORDS = 12
ALIKE = 0.6
_WORD = re.compile(r"\w+")


def spaced(text: str) -> str:
    """The text with single spaces."""
    return " ".join(text.split())


def question_key(question: str) -> str:
    """What two ways of typing the same question have in common."""
    return spaced(question).casefold()


def recalled(taught: str, answer: str) -> bool:
    """Whether an answer is the one that was taught, but for white space."""
    return spaced(taught) == spaced(answer)


def kept(expected: str, answer: str) -> bool:
    """Whether an earlier answer is still given.

    A long one need not come back letter by letter: any training changes some of its words, and
    `ALIKE` of them in the same order count as the same answer.
    """
    if recalled(expected, answer):
        return True
    before, now = expected.split(), answer.split()
    if len(before) <= SHORT_WORDS:
        return False
    return difflib.SequenceMatcher(None, before, now, autojunk=False).ratio() >= ALIKE


def words(text: str) -> set[str]:
    """The words of a text, in small letters."""
    return set(_WORD.findall(text.casefold()))
