"""The facts that the built-in model knows, and the wordings of their questions."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

SUM_ASK = ("What is {x}?", "{x} = ?", "How much is {x}?", "Work out {x}.", "Calculate {x}.")


@dataclass(frozen=True)
class Fact:
    """A fact that the model knows."""

    kind: str  # such as "sum", or a table of world.toml
    wordings: tuple[str, ...]  # of its question
    answer: str  # the only right one
    listed: int  # number of the first wordings that are in questions.jsonl


@dataclass(frozen=True)
class FactQuestion:
    """A question about a fact, with its exact answer."""

    question: str
    answer: str
    kind: str


def load_toml(name: str) -> dict[str, Any]:
    """Read one of the recipe's data files."""
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


@cache
def words(group: str) -> tuple[str, ...]:
    """Return the words of one group of words.toml, such as nouns, names or numbers."""
    return tuple(dict.fromkeys(load_toml("words.toml")[group].split()))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fact(kind: str, templates: list[str], subject: str, answer: str, listed: int) -> Fact:
    wordings = tuple(_capitalised(t.replace("{x}", subject)) for t in templates)
    return Fact(kind, wordings, answer, listed)


def _table(kind: str, table: dict[str, Any]) -> list[Fact]:
    pairs = [tuple(part.strip().split(": ")) for part in table["pairs"].split(";")]
    if table.get("both_ways"):
        pairs += [(b, a) for a, b in pairs]
    # The first pair counts, so that "old" does not have two opposites.
    answers: dict[str, str] = {}
    for subject, answer in pairs:
        answers.setdefault(subject, answer)
    listed = table.get("listed", 2)
    return [
        _fact(kind, table["ask"], subject, answer, listed) for subject, answer in answers.items()
    ]


def _numbers() -> list[Fact]:
    ask = list(SUM_ASK)
    facts = [_fact("sum", ask, f"{a} + {b}", str(a + b), 1) for a in range(10) for b in range(10)]
    facts += [
        _fact("difference", ask, f"{a} - {b}", str(a - b), 1)
        for a in range(6)
        for b in range(a + 1)
    ]
    after = ["Which number comes after {x}?", "What number follows {x}?", "What comes after {x}?"]
    facts += [_fact("next", after, str(n), str(n + 1), 2) for n in range(20)]
    word = ["How do you write {x} in words?", "Write {x} in words.", "Which word is {x}?"]
    return facts + [_fact("word", word, str(n), w, 2) for n, w in enumerate(words("numbers"))]


@cache
def facts() -> tuple[Fact, ...]:
    """Return all facts, in a fixed order."""
    found: list[Fact] = []
    for kind, table in load_toml("world.toml").items():
        found += _table(kind, table)
    return tuple(found + _numbers())


@cache
def questions() -> tuple[FactQuestion, ...]:
    """Return the questions that the model must answer exactly, each once."""
    seen: dict[str, FactQuestion] = {}
    for fact in facts():
        for wording in fact.wordings[: fact.listed]:
            seen.setdefault(wording, FactQuestion(wording, fact.answer, fact.kind))
    return tuple(seen.values())


def write_questions(path: Path) -> None:
    """Write `questions` as JSON lines with question, answer and kind."""
    lines = [json.dumps(vars(q), ensure_ascii=False) for q in questions()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
