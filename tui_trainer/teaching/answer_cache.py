"""Answers that were given before, on disk, so that nothing is asked twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tui_trainer.contracts.feedback import Turn
from tui_trainer.store import atomic, jsonl, paths

KEPT_FILES = 12
Ask = Callable[[list[list[Turn]]], list[str]]


class _Line(msgspec.Struct, frozen=True):
    question: str  # a hash of the turns: the book holds no more of a user's words than it must
    answer: str


class AnswerCache:
    """The answers of one model (a base with given adapters) under one limit of length."""

    def __init__(self, folder: Path, model: str) -> None:
        """`model` names what answers, so exactly that another answer cannot come of it."""
        self._file = folder / f"{hashlib.sha256(model.encode()).hexdigest()[:24]}.jsonl"

    def answers(self, questions: Sequence[Sequence[Turn]], ask: Ask) -> list[str]:
        """The answers in the order of the questions; `ask` is given those that are new."""
        known = self._read()
        keys = [_key(turns) for turns in questions]
        new = {key: list(turns) for key, turns in zip(keys, questions, strict=True)
               if key not in known}  # fmt: skip
        if new:
            found = dict(zip(new, ask(list(new.values())), strict=True))
            known |= found
            self._write(found)
        return [known[key] for key in keys]

    def _read(self) -> dict[str, str]:
        with contextlib.suppress(OSError):
            os.utime(self._file)  # still in use
            lines = jsonl.read_records(self._file, _Line).records
            return {line.question: line.answer for line in lines}
        return {}

    def _write(self, found: dict[str, str]) -> None:
        with contextlib.suppress(OSError):  # a full disk costs asking again, no more
            paths.make_private_dir(self._file.parent)
            with atomic.appending(self._file) as lines:
                for key, answer in found.items():
                    lines.append(_Line(key, answer))
            self._clear()

    def _clear(self) -> None:
        """Every adapter that goes live gets a file; those of old ones are of no more use."""
        files = sorted(self._file.parent.glob("*.jsonl"), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT_FILES]:
            file.unlink(missing_ok=True)


def _key(turns: Sequence[Turn]) -> str:
    data = msgspec.json.encode([[turn.role, turn.content] for turn in turns])
    return hashlib.sha256(data).hexdigest()[:32]
