"""Compares questions and answers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

# Answers of more words than this are compared by similarity instead of exactly.
EXACT_WORDS = 12
MIN_SIMILARITY = 0.6
# Share of the key facts of an answer without known facts that another answer must have.
MIN_FACTS = 0.6
MOST_FACTS = 6
_WORD = re.compile(r"\w+")
# Function words: they say how something is asked rather than what about.
FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an the is are was were be been do does did should must can could may might will would "
        "have has had what which who whom whose where when why how many much of in on at to from "
        "for with by our my your his her their its we you i they he she it us me them that this "
        "these those there and or please tell name give called",
    )
)


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


def has_facts(facts: Sequence[str], answer: str) -> bool:
    """Whether an answer has all key facts; "/" separates other ways to write one."""
    text = normalize_spaces(answer).casefold()
    return all(any(_has(text, way) for way in fact.casefold().split("/")) for fact in facts)


def same_facts(question: str, expected: str, answer: str) -> bool:
    """Whether an answer has at least `MIN_FACTS` of the key facts of the expected one, whatever
    the words around them: a real model words the same answer in many ways."""
    facts = key_facts(question, expected)
    if not facts:
        return kept(expected, answer)
    text = normalize_spaces(answer).casefold()
    return sum(_has(text, fact) for fact in facts) >= MIN_FACTS * len(facts)


def key_facts(question: str, answer: str) -> list[str]:
    """Numbers and names in an answer that are not in its question, else its content words; the
    first `MOST_FACTS`, case-folded."""
    asked = words(question)
    found = [m for m in _WORD.finditer(answer) if m.group().casefold() not in asked]
    named = [m for m in found if m.group()[0].isdigit() or _is_name(answer, m)]
    content = [m for m in found if m.group().casefold() not in FUNCTION_WORDS]
    chosen = dict.fromkeys(m.group().casefold() for m in named or content)
    return list(chosen)[:MOST_FACTS]


def _is_name(text: str, word: re.Match[str]) -> bool:
    """Whether a word has a capital letter although it does not begin a sentence."""
    before = text[: word.start()].rstrip(" \"'(*")
    return word.group()[0].isupper() and bool(before) and before[-1] not in ".!?:\n"


def _has(text: str, fact: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(fact.strip())}(?!\w)", text) is not None
