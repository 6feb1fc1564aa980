"""A cache of answers on disk, so that no model is asked the same question twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.store import atomic, jsonl, paths

KEPT_FILES = 12
Ask = Callable[[list[list[Turn]]], list[str]]
OnAsked = Callable[[int, int], None]  # called with the questions asked so far and all

_AT_ONCE = 64  # questions that are asked together, before their answers are stored


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""


class _Line(msgspec.Struct, frozen=True):
    question: str  # a hash of the turns, so that questions are not stored in clear
    answer: str


class AnswerCache:
    """The answers of one model (a base with given adapters) with one limit of tokens."""

    def __init__(self, folder: Path, model: str) -> None:
        """`model` identifies base, adapters and limit, so that answers can be reused."""
        self._file = folder / f"{hashlib.sha256(model.encode()).hexdigest()[:24]}.jsonl"

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        ask: Ask,
        on_progress: OnAsked = no_progress,
    ) -> list[str]:
        """The answers in the order of the questions; only unknown ones are passed to `ask`, in
        parts that are stored one by one. `on_progress` is called with the questions asked so far
        and all that are asked."""
        known = self._read()
        keys = [question_id(turns) for turns in questions]
        new = {key: list(turns) for key, turns in zip(keys, questions, strict=True)
               if key not in known}  # fmt: skip
        if new:
            asked = list(new)
            for start in range(0, len(asked), _AT_ONCE):
                part = asked[start : start + _AT_ONCE]
                on_progress(start, len(asked))
                found = dict(zip(part, ask([new[key] for key in part]), strict=True))
                known |= found
                self._write(found)
        return [known[key] for key in keys]

    def _read(self) -> dict[str, str]:
        with contextlib.suppress(OSError):
            os.utime(self._file)  # marks it as used
            lines = jsonl.read_records(self._file, _Line).records
            return {line.question: line.answer for line in lines}
        return {}

    def _write(self, found: dict[str, str]) -> None:
        with contextlib.suppress(OSError):  # without the file, the questions are only asked again
            paths.make_private_dir(self._file.parent)
            with atomic.appending(self._file) as lines:
                for key, answer in found.items():
                    lines.append(_Line(key, answer))
            self._delete_old_files()

    def _delete_old_files(self) -> None:
        """Deletes the oldest files: every adapter that is activated adds one."""
        files = sorted(self._file.parent.glob("*.jsonl"), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT_FILES]:
            file.unlink(missing_ok=True)


def question_id(turns: Sequence[Turn]) -> str:
    """A hash of a conversation."""
    data = msgspec.json.encode([[turn.role, turn.content] for turn in turns])
    return hashlib.sha256(data).hexdigest()[:32]
