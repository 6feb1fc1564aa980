"""Conversations on disk, so that one can be continued after a restart."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import Role, Turn
from tui_trainer.store import atomic, jsonl, paths

_CURRENT = "current"
_HISTORY = "history.txt"


class RecordedTurn(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="turn"):
    """A recorded turn. The fields from `base` on are those of an answer."""

    time: float  # seconds since the epoch
    role: Role  # who wrote it
    content: str  # its text
    base: str | None = None  # base model that answered
    adapter: str | None = None  # active adapters, as text; None: the base alone
    cancelled: bool = False  # whether the user cut it short
    example: str | None = None  # id of the feedback that rates it


class _Rated(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="rated"):
    """The last answer before this line was rated."""

    example: str | None  # id of the feedback; None: no longer rated


class _Removed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="removed"):
    """The last question and its answer were removed."""


class _System(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="system"):
    """The system prompt was changed."""

    content: str  # the new one; empty for none


_Line = RecordedTurn | _Rated | _Removed | _System


class ConversationStore:
    """Conversations, one file each in `conversations/`, of which one is the current one.

    Two sessions may continue the same one at a time; each line is written at once.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else paths.home() / "conversations"
        self._name = self._last_name()

    @property
    def file(self) -> Path:
        """The file of the current conversation; missing before its first turn."""
        return self.folder / self._name

    def new(self) -> None:
        """Start a new conversation; the others stay on disk. Raises `UserError`."""
        self._name = _new_name()
        self._write_current()

    def append(
        self,
        turn: Turn,
        *,
        base: str | None = None,
        adapter: str | None = None,
        cancelled: bool = False,
    ) -> None:
        """Add a turn. Raises `UserError` if it cannot be written."""
        recorded = RecordedTurn(
            time=time.time(),
            role=turn.role,
            content=turn.content,
            base=base,
            adapter=adapter,
            cancelled=cancelled,
        )
        self._write(recorded)

    def rated(self, example_id: str | None) -> None:
        """Record the feedback that rates the last answer, or None if it is no longer rated."""
        self._write(_Rated(example=example_id))

    def recorded(self, last: int | None = None) -> list[RecordedTurn]:
        """The newest `last` turns (default: all), oldest first, without unreadable lines."""
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
        """Remove the last question and its answer. Raises `UserError`."""
        self._write(_Removed())

    @property
    def system(self) -> str:
        """The system prompt; empty if there is none."""
        return next((s.content for s in reversed(self._lines()) if isinstance(s, _System)), "")

    def set_system(self, content: str) -> None:
        """Set the system prompt; an empty one removes it. Raises `UserError`."""
        self._write(_System(content=content))

    def turns(self, last: int | None = None) -> list[Turn]:
        """The newest `last` turns (default: all) as they are given to the model."""
        return [Turn(turn.role, turn.content) for turn in self.recorded(last)]

    def remember(self, line: str) -> None:
        """Add a line to the input history. Raises `UserError`."""
        if not line.strip():
            return
        try:
            paths.make_private_dir(self.folder)
            with atomic.appending(self.folder / _HISTORY) as lines:
                lines.append(line)
        except OSError as error:
            raise UserError(
                f"the input history {self.folder / _HISTORY} cannot be written: {error.strerror}", 1
            ) from None

    def history(self, last: int = 1000) -> list[str]:
        """The newest input lines, oldest first, without consecutive duplicates."""
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
            self._write_current()

    def _write_current(self) -> None:
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
