"""Golden sets: questions with the answers that every model must give, one JSON object per line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.evaluation import answer_matching
from tui_trainer.store import atomic, jsonl, paths
from tui_trainer.text import formats

NAME = "golden.jsonl"
_EXAMPLE = '{"question": "...", "answer": "...", "facts": ["..."]}'


class GoldenItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question, its right answer, and key facts: where there are any, an answer is right that
    has all of them, whatever its words. "/" separates other ways to write one."""

    question: str
    answer: str
    facts: list[str] = []

    def is_right(self, answer: str) -> bool:
        """Whether an answer says what the right one says."""
        return is_right(self.answer, self.facts, answer)


def is_right(expected: str, facts: Sequence[str], answer: str) -> bool:
    """Whether an answer has all key facts, or without any equals the expected one, apart from case
    and white space; of a long one some words may differ (`answer_matching.kept`)."""
    if facts:
        return answer_matching.has_facts(facts, answer)
    return answer_matching.question_key(expected) == answer_matching.question_key(
        answer
    ) or answer_matching.kept(expected, answer)


def own_file() -> Path:
    """The user's golden set, which every teaching checks too. It may not exist."""
    return paths.home() / NAME


def is_golden(file: Path) -> bool:
    """Whether a file is a golden set by its name: it ends with `golden.jsonl`."""
    return file.name.endswith(NAME)


def read(file: Path) -> list[GoldenItem]:
    """Read a golden set.

    Raises `UserError` that names a line without a question or answer, and for a file without any.
    """
    found: list[GoldenItem] = []
    decoder: jsonl.RecordDecoder[GoldenItem] = jsonl.RecordDecoder(GoldenItem)
    try:
        for line in jsonl.LineReader(file).read(last=True):
            # The last line of a file that somebody wrote by hand counts, whether or not it ends
            # with a line feed.
            item = next(decoder.decode([line._replace(complete=True)]), None)
            where = f"{file} line {formats.count(line.number)}"
            if item is None:
                raise UserError(f"{where} is not {_EXAMPLE}")
            for name, text in (("question", item.question), ("answer", item.answer)):
                if not text.strip():
                    raise UserError(f"{where}: the {name} is empty; write it or delete the line")
            if any(not fact.strip(" /") for fact in item.facts):
                raise UserError(f"{where}: a key fact is empty; write it or delete it")
            found.append(item)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    return found


def problems(items: Sequence[GoldenItem]) -> list[str]:
    """Return a sentence for each item that cannot be right or is there twice."""
    found = []
    first: dict[str, tuple[int, GoldenItem]] = {}
    for number, item in enumerate(items, start=1):
        missing = [f for f in item.facts if not answer_matching.has_facts([f], item.answer)]
        if missing:
            found.append(
                f"item {formats.count(number)} ({_short(item.question)}): its own answer lacks "
                f"the key fact {_short(missing[0])}"
            )
        key = answer_matching.question_key(item.question)
        earlier = first.setdefault(key, (number, item))
        if earlier[0] == number:
            continue
        same = earlier[1].answer == item.answer
        what = "the same question" if same else "another answer to the same question"
        found.append(
            f"item {formats.count(number)} ({_short(item.question)}): {what} as item "
            f"{formats.count(earlier[0])}"
        )
    return found


def add(file: Path, item: GoldenItem) -> None:
    """Append an item to a golden set, which is made where it is absent.

    Raises `UserError` for an empty question or answer, for a question that the set already has,
    and for an answer that lacks one of its own key facts.
    """
    for name, text in (("question", item.question), ("answer", item.answer)):
        if not text.strip():
            raise UserError(f"the {name} of a golden item is empty; write it")
    if any(not fact.strip(" /") for fact in item.facts):
        raise UserError("a key fact is empty; write it or leave it out")
    present = read(file) if file.exists() else []
    wrong = problems([*present, item])
    mine = [text for text in wrong if text.startswith(f"item {formats.count(len(present) + 1)} ")]
    if mine:
        raise UserError(f"not added to {file}: {mine[0]}")
    try:
        paths.make_private_dir(file.parent)
        with atomic.appending(file) as lines:
            lines.append(item)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}", 1) from None


def _short(text: str) -> str:
    return f'"{formats.one_line(text, 60)}"'
