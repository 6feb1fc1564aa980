"""Reading `control.jsonl` as it grows, for the process that executes its commands."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, reason_of
from tui_trainer.contracts.run import Command
from tui_trainer.store.regular_files import open_regular
from tui_trainer.store.runs.run_folder import RunFolder

_LONGEST_ID = 200
_SLICE = 1024 * 1024  # no command is longer
_MOST_BAD = 20  # reported one by one, for each look


@dataclass(frozen=True)
class BadLine:
    """A line of `control.jsonl` that is no command, with its number (1 is the first) and why.

    `id` and `command` are what the line says of itself, where that much can be read: its sender
    waits for an event with this id. `more` further bad lines before it are not reported.
    """

    number: int
    reason: str
    id: str | None = None
    command: str = ""
    more: int = 0

    @property
    def message(self) -> str:
        """One sentence for the run's events."""
        if not self.number:
            return f"control.jsonl cannot be read: {self.reason}; commands do not arrive"
        more = f", nor are {self.more:,} lines before it" if self.more else ""
        return f"control.jsonl line {self.number:,} is not a command{more}: {self.reason}"


class _Named(msgspec.Struct):
    """As much of a bad line as its sender needs for an answer."""

    id: str
    command: Any = None


class CommandLog:
    """New commands of a run, each once; one `stat` a look while nothing is appended.

    Commands that an earlier process acknowledged by an event are passed over; those that it left
    unanswered are `lapsed`: what was meant for it must not stop its successor. Lines that are no
    commands wait in `bad` until `take_bad` hands them out; those of an earlier process are
    answered by it or left.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._file = folder.control_file
        self._path = str(self._file)
        self._offset = 0
        self._lines = 0
        self._bad: list[BadLine] = []
        self._problem: str | None = None
        self._skipping = False  # the rest of a line that is too long
        earlier = folder.events()
        self._done = {event.id for event in earlier if event.id is not None}
        self._decoder = msgspec.json.Decoder(Command)
        self.lapsed = self.read() if earlier else []
        if earlier:
            self._bad = [line for line in self._bad if line.id is not None]

    def read(self) -> list[Command]:
        """Commands appended since the last look, in order. Never raises."""
        try:
            status = os.stat(self._path)  # noqa: PTH116  at every step
        except OSError:
            return []
        regular = stat.S_ISREG(status.st_mode)
        if regular and status.st_size <= self._offset:
            return []
        found: list[Command] = []
        try:
            with open_regular(self._file) as stream:
                stream.seek(self._offset)
                while data := stream.read(_SLICE):
                    taken = self._take(data, found)
                    if not taken:
                        break
                    stream.seek(self._offset)
        except OSError as error:
            self._note_problem(reason_of(error))
        return found

    def _take(self, data: bytes, found: list[Command]) -> int:
        """Takes the whole lines that begin at the offset; how many bytes they are."""
        whole = data.rfind(b"\n") + 1
        if not whole:
            if len(data) < _SLICE:
                return 0  # a line that is still being written
            if not self._skipping:
                self._skipping = True
                self._note(BadLine(self._lines + 1, f"longer than {_SLICE // 1024:,} KiB"))
            whole = len(data)
        else:
            for line in data[:whole].split(b"\n")[:-1]:
                self._lines += 1
                skipped, self._skipping = self._skipping, False
                if line.strip() and not skipped:
                    command = self._decoded(line)
                    if command is not None and command.id not in self._done:
                        self._done.add(command.id)
                        found.append(command)
        self._offset += whole
        return whole

    def take_bad(self) -> list[BadLine]:
        """Hands out the lines that are no commands, each once."""
        found, self._bad = self._bad, []
        return found

    @property
    def has_bad(self) -> bool:
        """Whether there are lines to report."""
        return bool(self._bad)

    def _decoded(self, line: bytes) -> Command | None:
        try:
            return self._decoder.decode(line)
        except BAD_CONTENT as error:
            bad = BadLine(self._lines, reason_of(error))
        try:
            named = msgspec.json.decode(line, type=_Named)
            if named.id not in self._done and len(named.id) <= _LONGEST_ID:
                self._done.add(named.id)
                word = named.command if isinstance(named.command, str) else ""
                bad = BadLine(bad.number, bad.reason, named.id, word[:_LONGEST_ID])
        except BAD_CONTENT:
            pass
        self._note(bad)
        return None

    def _note_problem(self, reason: str) -> None:
        """Reports once that the file as a whole cannot be read."""
        if reason != self._problem:
            self._problem = reason
            self._bad.append(BadLine(0, reason))

    def _note(self, line: BadLine) -> None:
        last = self._bad[-1] if len(self._bad) >= _MOST_BAD else None
        if last is None or last.id is not None or line.id is not None:
            self._bad.append(line)
        else:
            self._bad[-1] = replace(line, more=last.more + 1)
