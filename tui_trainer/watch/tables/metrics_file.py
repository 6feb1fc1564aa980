"""A metrics file of JSON lines, read as it grows: tail, decoder and tables together."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.text import formats
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.metric_decoder import MOST_COLUMNS, MetricDecoder, null_non_finite
from tui_trainer.watch.tables.source import SourceFacts
from tui_trainer.watch.tables.tail import Tail

# A last line without a newline counts once the file has been quiet this long.
QUIET_SECONDS = 2.0


class MetricsFile:
    """The tables of one metrics file. A file that was replaced or truncated is read again from
    its start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history = History()
        self.restarts = 0
        self.cut_off = False
        self._tail = Tail(path)
        self._decoder = MetricDecoder()
        self._skipped = 0

    def read(self) -> tuple[bool, bool]:
        """Reads one slice; whether there was new data, and whether there is more. Raises
        `OSError`."""
        chunk = self._tail.poll()
        if chunk.restarted:
            self.history, self._decoder = History(), MetricDecoder()
            self.restarts += 1
            self._skipped = 0
        self._skipped += chunk.skipped
        for rows in self._decoder.feed(chunk.data):
            self.history.append(rows)
        if chunk.data or chunk.restarted:
            self.cut_off = False
        return bool(chunk.data) or chunk.restarted, chunk.more

    def settle(self) -> bool:
        """Once the file has been quiet for a while, reads a last line that only lacks its newline,
        or adds a warning that it is cut off; whether anything changed."""
        line = self._tail.pending
        if not line.strip() or self.cut_off or not self._is_quiet():
            return False
        if _is_object(line):
            for rows in self._decoder.feed(self._tail.take_last()):
                self.history.append(rows)
        else:
            self.cut_off = True
        return True

    def warnings(self) -> list[str]:
        """Warnings about the file, one sentence each."""
        problems, warnings = self._decoder.problems, []
        if problems.unreadable:
            lines = formats.plural(problems.unreadable, "line")
            which = "" if problems.unreadable == 1 else "the first is "
            first = formats.count(problems.first_unreadable)
            warnings.append(f"{lines} not JSON ({which}line {first})")
        if self.cut_off:
            warnings.append("the last line is cut off")
        if self._skipped:
            warnings.append(f"{formats.plural(self._skipped, 'line')} too long to be metrics")
        if problems.numberless:
            warnings.append(f"{formats.plural(problems.numberless, 'line')} without metrics")
        if problems.columns_over:
            warnings.append(f"more than {MOST_COLUMNS} fields; the later ones are left out")
        if self.history.stepless:
            warnings.append(f"{formats.plural(self.history.stepless, 'line')} without a step")
        if self.restarts:
            warnings.append("the file was replaced or truncated, and read again from its start")
        return [f"{self.path.name}: {sentence}" for sentence in warnings]

    def facts(self) -> SourceFacts:
        """No facts: lines of metrics contain nothing but values."""
        return SourceFacts()

    def _is_quiet(self) -> bool:
        try:
            return abs(time.time() - self.path.stat().st_mtime) > QUIET_SECONDS
        except OSError:
            return True


def _is_object(line: bytes) -> bool:
    for text in (line, null_non_finite(line)):
        try:
            msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            return True
        except BAD_CONTENT:
            continue
    return False
