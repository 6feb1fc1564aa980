"""Conversations on disk, so that one can be carried on after a restart."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import Role, Turn
from tui_trainer.store import atomic, jsonl, paths

_CURRENT = "current"
_HISTORY = "history.txt"


class RecordedTurn(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="turn"):
    """A turn as it was said.

    `time` in seconds since the epoch; of an answer: the base and the adapters it came from,
    whether it was cut off by the user, and the id of the feedback that rates it.
    """

    time: float
    role: Role
    content: str
    base: str | None = None
    adapter: str | None = None
    cancelled: bool = False
    example: str | None = None


class _Rated(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="rated"):
    """The last answer so far was rated."""

    example: str | None


class _Removed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="removed"):
    """The last question and its answer were removed."""


class _System(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="system"):
    """The system prompt from here on; empty for none."""

    content: str


_Line = RecordedTurn | _Rated | _Removed | _System


class ConversationStore:
    """Conversations, one file each in `conversations/`, of which one is carried on.

    Two sessions at a time may carry on the same one; each line is written whole.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else paths.home() / "conversations"
        self._name = self._last_name()

    @property
    def file(self) -> Path:
        """The file of the conversation that is carried on; absent before its first turn."""
        return self.folder / self._name

    def new(self) -> None:
        """Starts a new conversation; the others stay on disk. Raises `UserError`."""
        self._name = _new_name()
        self._point()

    def append(
        self,
        turn: Turn,
        *,
        base: str | None = None,
        adapter: str | None = None,
        cancelled: bool = False,
    ) -> None:
        """Adds a turn. Raises `UserError` where it cannot be written."""
        said = RecordedTurn(
            time=time.time(),
            role=turn.role,
            content=turn.content,
            base=base,
            adapter=adapter,
            cancelled=cancelled,
        )
        self._write(said)

    def rated(self, example_id: str | None) -> None:
        """Notes that the last answer is rated by that feedback, or by none any more."""
        self._write(_Rated(example=example_id))

    def said(self, last: int | None = None) -> list[RecordedTurn]:
        """The newest `last` turns (all without), oldest first; unreadable lines are left out."""
        found: list[RecordedTurn] = []
        for line in self._lines():
            if isinstance(line, RecordedTurn):
                found.append(line)
            elif isinstance(line, _Removed):
                del found[-2:]
            elif isinstance(line, _Rated) and found and found[-1].role == "assistant":
                found[-1] = msgspec.structs.replace(found[-1], example=line.example)
        return found if last is None else found[len(found) - min(last, len(found)) :]

    def remove_last(self) -> None:
        """Removes the last question and its answer. Raises `UserError`."""
        self._write(_Removed())

    @property
    def system(self) -> str:
        """The system prompt, empty where there is none."""
        return next((s.content for s in reversed(self._lines()) if isinstance(s, _System)), "")

    def set_system(self, content: str) -> None:
        """Sets the system prompt; empty removes it. Raises `UserError`."""
        self._write(_System(content=content))

    def turns(self, last: int | None = None) -> list[Turn]:
        """The newest `last` turns (all without) as the model is shown them."""
        return [Turn(said.role, said.content) for said in self.said(last)]

    def remember(self, line: str) -> None:
        """Adds a line to the input history. Raises `UserError`."""
        if not line.strip():
            return
        try:
            paths.make_private_dir(self.folder)
            with atomic.appending(self.folder / _HISTORY) as lines:
                lines.append(line)
        except OSError as error:
            raise UserError(f"the history cannot be written: {error.strerror}", 1) from None

    def history(self, last: int = 1000) -> list[str]:
        """The newest input lines, oldest first, without repetitions in a row."""
        found: list[str] = []
        with contextlib.suppress(OSError):
            for line in jsonl.read_records(self.folder / _HISTORY, str).records:
                if not found or found[-1] != line:
                    found.append(line)
        return found[-last:]

    def _write(self, line: _Line) -> None:
        try:
            paths.make_private_dir(self.folder)
            fresh = not self.file.exists()
            with atomic.appending(self.file) as lines:
                lines.append(line, durable=True)
        except OSError as error:
            raise UserError(f"{self.file} cannot be written: {error.strerror}", 1) from None
        if fresh:
            self._point()

    def _point(self) -> None:
        try:
            paths.make_private_dir(self.folder)
            atomic.write_bytes(self.folder / _CURRENT, self._name.encode())
        except OSError as error:
            raise UserError(f"{self.folder} cannot be written: {error.strerror}", 1) from None

    def _lines(self) -> list[_Line]:
        try:
            found: list[_Line]
            found = jsonl.read_records(self.file, _Line).records
            return found
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self.file} cannot be read: {error.strerror}", 1) from None

    def _last_name(self) -> str:
        with contextlib.suppress(OSError, UnicodeDecodeError, UserError):
            return paths.safe_name((self.folder / _CURRENT).read_text("utf-8").strip())
        return _new_name()


def _new_name() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}.jsonl"
