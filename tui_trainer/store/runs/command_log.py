"""Reading `control.jsonl` as it grows, for the process that executes its commands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, reason_of
from tui_trainer.contracts.runs.run import Command
from tui_trainer.store.jsonl import JsonLine, LineReader
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

_LONGEST_ID = 200
_LONGEST_LINE = 1024 * 1024  # bytes; no command is longer
_MOST_BAD = 20  # reported one by one, at each read


@dataclass(frozen=True)
class BadLine:
    """A line of `control.jsonl` that is not a command."""

    number: int  # 1 is the first line; 0: the file as a whole cannot be read
    reason: str  # why it is not a command, one line
    id: str | None = None  # of the line, if readable: its sender waits for an answer
    command: str = ""  # of the line, if readable
    more: int = 0  # further bad lines before it that are not reported one by one

    @property
    def message(self) -> str:
        """One sentence for the run's events."""
        if not self.number:
            return f"control.jsonl cannot be read ({self.reason}), so that no command is executed"
        more = f", nor are {formats.plural(self.more, 'line')} before it" if self.more else ""
        number = formats.count(self.number)
        return f"control.jsonl line {number} is not a command{more}: {self.reason}"


class _Named(msgspec.Struct):
    """The keys of a bad line that an answer to its sender needs."""

    id: str  # for the answer's event
    command: Any = None  # the name of the command, if it is text


class CommandLog:
    """New commands of a run, each once; a read costs one `stat` if nothing was appended.

    Commands that an earlier process acknowledged are skipped. Those that it did not answer are in
    `lapsed`, since they must not stop this process. Lines that are not commands are kept for
    `take_bad`; of those from before this process, only the ones with an id.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._lines = LineReader(folder.control_file, longest=_LONGEST_LINE)
        self._bad: list[BadLine] = []
        self._problem: str | None = None
        earlier = folder.events()
        self._done = {event.id for event in earlier if event.id is not None}
        self._decoder = msgspec.json.Decoder(Command)
        self.lapsed = self.read() if earlier else []
        if earlier:
            self._bad = [line for line in self._bad if line.id is not None]

    def read(self) -> list[Command]:
        """Commands appended since the last read, in order. Never raises."""
        try:
            if not self._lines.has_more():
                return []
        except OSError:
            return []
        found: list[Command] = []
        try:
            for line in self._lines.read():
                command = self._decoded(line)
                if command is not None and command.id not in self._done:
                    self._done.add(command.id)
                    found.append(command)
        except OSError as error:
            self._note_problem(reason_of(error))
        return found

    def take_bad(self) -> list[BadLine]:
        """The lines that are not commands, since the last call."""
        found, self._bad = self._bad, []
        return found

    @property
    def has_bad(self) -> bool:
        """Whether there are lines to report."""
        return bool(self._bad)

    def _decoded(self, line: JsonLine) -> Command | None:
        if line.problem:
            self._note(BadLine(line.number, line.problem))
            return None
        try:
            return self._decoder.decode(line.data)
        except BAD_CONTENT as error:
            bad = BadLine(line.number, reason_of(error))
        try:
            named = msgspec.json.decode(line.data, type=_Named)
            if named.id not in self._done and len(named.id) <= _LONGEST_ID:
                self._done.add(named.id)
                command = named.command if isinstance(named.command, str) else ""
                bad = BadLine(bad.number, bad.reason, named.id, command[:_LONGEST_ID])
        except BAD_CONTENT:
            pass
        self._note(bad)
        return None

    def _note_problem(self, reason: str) -> None:
        """Report once that the file as a whole cannot be read."""
        if reason != self._problem:
            self._problem = reason
            self._bad.append(BadLine(0, reason))

    def _note(self, line: BadLine) -> None:
        last = self._bad[-1] if len(self._bad) >= _MOST_BAD else None
        if last is None or last.id is not None or line.id is not None:
            self._bad.append(line)
        else:
            self._bad[-1] = replace(line, more=last.more + 1)
