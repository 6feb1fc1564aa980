"""The newest row of each run in a database, queried for all runs at once when it changes."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from tui_trainer.watch.formats import sqlite
from tui_trainer.watch.formats.record_columns import epoch_seconds

_MOST_DATABASES = 32
# Only rows after the last known one are read; the time is that of each run's newest row.
_NEWEST = {
    "trackio": "SELECT {run}, max(rowid), timestamp FROM metrics WHERE rowid > ? GROUP BY 1",
    "mlflow": "SELECT run_uuid, max(rowid), timestamp FROM metrics WHERE rowid > ? GROUP BY 1",
}
Head = tuple[int, int, int]


@dataclass
class _Database:
    seen: sqlite.Signature = ()
    column: str = ""
    last: int = 0
    heads: dict[str, Head] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)


class DatabaseHeads:
    """Newest row, its time (ns since the epoch) and a number for the status, by run.

    With these a write to one run is not taken for a change of the other runs in the same file.
    Safe to use from any thread; 32 databases are kept.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, _Database] = {}
        self._lock = threading.Lock()

    def of(self, path: Path, tool: str, run: str) -> Head | None:
        """The values of one run; None where it has no rows or the database cannot be read."""
        with self._lock:
            known = self._kept.setdefault(path, _Database())
            while len(self._kept) > _MOST_DATABASES:
                del self._kept[next(iter(self._kept))]
            seen = sqlite.signature(path)
            if seen != known.seen:
                if known.seen and (seen[0] != known.seen[0] or seen[1] < known.seen[1]):
                    known = self._kept[path] = _Database()
                try:
                    _refresh(known, path, tool)
                    known.seen = seen
                except sqlite3.Error:
                    pass  # busy or incomplete: tried again next time
            head = known.heads.get(run)
            return (head[0], head[1], known.states.get(run, 0)) if head is not None else None


def _refresh(known: _Database, path: Path, tool: str) -> None:
    known.column = known.column or (sqlite.run_column(path) if tool == "trackio" else "run_uuid")
    statement = _NEWEST[tool].format(run=known.column)
    for run, row, stamp in sqlite.query(path, statement, (known.last,)):
        known_time = epoch_seconds(stamp, 1000) if isinstance(stamp, int | float) else None
        seconds = sqlite.seconds(stamp) if known_time is None else known_time
        known.heads[sqlite.decode_text(run)] = (row, int((seconds or 0.0) * 1e9), 0)
        known.last = max(known.last, row)
    if tool == "mlflow":
        for run, state in sqlite.query(path, "SELECT run_uuid, status FROM runs"):
            content = state if isinstance(state, bytes) else str(state).encode()
            known.states[sqlite.decode_text(run)] = zlib.crc32(content)
