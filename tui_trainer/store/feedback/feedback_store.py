"""Feedback on disk: an append-only journal, flushed before a rating is acknowledged."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample, Rating
from tui_trainer.store import atomic, paths
from tui_trainer.store.feedback import feedback_log
from tui_trainer.store.file_lock import locked
from tui_trainer.store.jsonl import BadJsonLine
from tui_trainer.text import formats

JOURNAL = "feedback.jsonl"
# Consonants, so that an id is neither a word nor a number in the list.
_LETTERS = "bcdfghjkmnpqrstvwxz"
_ID_LENGTH = 5


class FeedbackStore:
    """Rated answers, in the order of their ratings. Thread-safe, also for several processes.

    Every change is a line of `feedback.jsonl` that is on the disk when the call returns. Lines
    that cannot be read stay in the file and are counted in `unreadable`; `first_unreadable` is the
    first of them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else paths.home() / "feedback"
        self.unreadable = 0
        self.first_unreadable: BadJsonLine | None = None
        self._reading = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._known: dict[str, RatedExample] = {}

    @property
    def file(self) -> Path:
        """The journal; missing before the first example."""
        return self.folder / JOURNAL

    def examples(self) -> list[RatedExample]:
        """All examples, also dropped ones, oldest first. Raises `UserError`."""
        return list(self._read().values())

    def pending(self) -> list[RatedExample]:
        """The examples that the next training uses."""
        return [example for example in self.examples() if example.pending]

    def get(self, reference: str | int) -> RatedExample:
        """The example with this id, or with this number in `examples()`, counted from 1.

        Raises `UserError` if there is none.
        """
        return _find(self._read(), reference)

    def number(self, example_id: str) -> int:
        """An example's number in `examples()`, counted from 1. Raises `UserError`."""
        known = self._read()
        return list(known).index(_find(known, example_id).id) + 1

    def add(self, example: RatedExample) -> RatedExample:
        """Store an example and return it as stored, with a new id and a time.

        Raises `UserError` if it cannot be stored.
        """
        with self._writing() as append:
            known = self._read()
            stored = msgspec.structs.replace(
                example, id=_new_id(known), time=example.time or time.time()
            )
            append(feedback_log.AddEntry(time=time.time(), example=stored))
        return stored

    def edit(
        self,
        reference: str | int,
        *,
        correction: str | None = None,
        note: str | None = None,
        rating: Rating | None = None,
        flags: list[str] | None = None,
    ) -> RatedExample:
        """Change the given fields and return the changed example.

        An example whose right answer changes is used by the next training again. Raises
        `UserError` for an empty correction and for a dropped example.
        """
        if correction is not None and not correction.strip():
            raise UserError("the correction is empty; give the right answer")
        with self._writing() as append:
            example = _undropped(self._read(), reference)
            append(
                feedback_log.EditEntry(
                    time=time.time(),
                    id=example.id,
                    correction=correction,
                    note=note,
                    rating=rating,
                    flags=flags,
                )
            )
            return self._read()[example.id]

    def drop(self, reference: str | int) -> RatedExample:
        """Drop an example and return it. Its text stays on the disk until `purge`.

        Raises `UserError` if there is none, or if it is dropped already.
        """
        with self._writing() as append:
            example = _undropped(self._read(), reference)
            append(feedback_log.DropEntry(time=time.time(), id=example.id))
            return self._read()[example.id]

    def mark_trained(self, examples: Iterable[RatedExample | str], adapter: str) -> list[str]:
        """Record that `adapter` was trained on the examples and activated; returns the ids that
        are newly marked.

        An example that is given as it was trained stays pending if its right answer was changed
        since. Examples that are marked already and unknown ids are ignored.
        """
        with self._writing() as append:
            known = self._read()
            found = [(given, known.get(given if isinstance(given, str) else given.id))
                     for given in examples]  # fmt: skip
            ids = [now.id for given, now in found if now is not None and _is_unmarked(given, now)]
            if ids:
                append(feedback_log.TrainedEntry(time=time.time(), ids=ids, adapter=adapter))
        return ids

    def purge(self) -> int:
        """Delete dropped examples from the disk permanently; returns how many. Numbers change."""
        with self._writing():
            gone = {example.id for example in self._read().values() if example.dropped}
            if gone:
                atomic.write_bytes(self.file, feedback_log.without(self.file.read_bytes(), gone))
        return len(gone)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Callable[[feedback_log.Line], None]]:
        """Exclude other writers; yields a function that appends a line and flushes it."""
        try:
            paths.make_private_dir(self.folder)
            with locked(self.folder / ".lock"):
                yield self._append
        except OSError as error:
            raise UserError(f"{self.file} cannot be written: {error.strerror}", 1) from None

    def _append(self, line: feedback_log.Line) -> None:
        fresh = not self.file.exists()
        with atomic.appending(self.file) as lines:
            lines.append(line, durable=True)
        if fresh:
            atomic.sync_dir(self.folder)

    def _read(self) -> dict[str, RatedExample]:
        """Examples by id; the file is read only if it has changed."""
        with self._reading:
            try:
                status = self.file.stat()
                stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
                if stamp != self._stamp:
                    self._known, bad, self.unreadable = feedback_log.fold(self.file)
                    self.first_unreadable = bad[0] if bad else None
                    self._stamp = stamp
            except FileNotFoundError:
                self._known, self._stamp = {}, None
                self.unreadable, self.first_unreadable = 0, None
            except OSError as error:
                raise UserError(f"{self.file} cannot be read: {error.strerror}", 1) from None
            return self._known


def _find(known: dict[str, RatedExample], reference: str | int) -> RatedExample:
    word = str(reference).strip()
    if word in known:
        return known[word]
    if not known:
        raise UserError(f"there is no feedback {word!r}: nothing is rated yet")
    if word.isascii() and word.isdigit():
        if 1 <= int(word) <= len(known):
            return list(known.values())[int(word) - 1]
        last = formats.count(len(known))
        raise UserError(f"there is no feedback {word}: give a number from 1 to {last}")
    raise UserError(f"there is no feedback {word!r}: give a number or an id from the list")


def _undropped(known: dict[str, RatedExample], reference: str | int) -> RatedExample:
    example = _find(known, reference)
    if example.dropped:
        raise UserError(f"feedback {example.id} is dropped")
    return example


def _is_unmarked(given: RatedExample | str, now: RatedExample) -> bool:
    """Whether the trained answer is still the right one, and not marked yet."""
    same = isinstance(given, str) or given.right_answer == now.right_answer
    return same and now.trained_in is None


def _new_id(known: dict[str, RatedExample]) -> str:
    while True:
        candidate = "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))
        if candidate not in known:
            return candidate
