"""A metrics file read as it grows: tail, decoder and tables together."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.metric_decoder import MOST_COLUMNS, MetricDecoder, null_words
from tui_trainer.watch.tables.source import SourceFacts
from tui_trainer.watch.tables.tail import Tail

# A last line without a newline counts once the file has been quiet this long.
QUIET_SECONDS = 2.0


class MetricsFile:
    """The tables of one metrics file.

    A file that was replaced or truncated is read anew from its start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history = History()
        self.restarts = 0
        self.torn = False
        self._tail = Tail(path)
        self._decoder = MetricDecoder()
        self._skipped = 0

    def read(self) -> tuple[bool, bool]:
        """Reads one slice: whether anything arrived, and whether more waits. Raises `OSError`."""
        chunk = self._tail.poll()
        if chunk.restarted:
            self.history, self._decoder = History(), MetricDecoder()
            self.restarts += 1
            self._skipped = 0
        self._skipped += chunk.skipped
        for rows in self._decoder.feed(chunk.data):
            self.history.append(rows)
        if chunk.data or chunk.restarted:
            self.torn = False
        return bool(chunk.data) or chunk.restarted, chunk.more

    def settle(self) -> bool:
        """Takes a whole last line that lacks only its newline, once the file is quiet; a torn
        one is noted. Tells whether anything changed."""
        line = self._tail.pending
        if not line.strip() or self.torn or not self._is_quiet():
            return False
        if _is_object(line):
            for rows in self._decoder.feed(self._tail.take_last()):
                self.history.append(rows)
        else:
            self.torn = True
        return True

    def oddities(self) -> list[str]:
        """What was strange, a sentence each."""
        odd, said = self._decoder.odd, []
        if odd.unreadable:
            which = "" if odd.unreadable == 1 else "the first is "
            said.append(f"{lines(odd.unreadable)} not JSON ({which}line {odd.first_unreadable:,})")
        if self.torn:
            said.append("the last line is cut off")
        if self._skipped:
            said.append(f"{lines(self._skipped)} too long to be metrics")
        if odd.numberless:
            said.append(f"{lines(odd.numberless)} without metrics")
        if odd.columns_over:
            said.append(f"more than {MOST_COLUMNS} fields; the later ones are left out")
        if self.history.stepless:
            said.append(f"{lines(self.history.stepless)} without a step")
        if self.restarts:
            said.append("the file was replaced or truncated, and read again from its start")
        return [f"{self.path.name}: {sentence}" for sentence in said]

    def facts(self) -> SourceFacts:
        """Nothing: lines of metrics say no more than their numbers."""
        return SourceFacts()

    def _is_quiet(self) -> bool:
        try:
            return abs(time.time() - self.path.stat().st_mtime) > QUIET_SECONDS
        except OSError:
            return True


def lines(count: int) -> str:
    """`1 line`, `2,000 lines`."""
    return "1 line" if count == 1 else f"{count:,} lines"


def _is_object(line: bytes) -> bool:
    for text in (line, null_words(line)):
        try:
            msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            return True
        except BAD_CONTENT:
            continue
    return False
