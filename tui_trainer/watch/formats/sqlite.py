"""Reads databases of Trackio and MLflow while other programs write to them.

Connections are opened with `mode=ro`, for one short query each, and do not wait for a lock: a
busy database is tried again with the next reading.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.text import formats
from tui_trainer.watch.formats.record_columns import epoch_seconds, measure, number, step_number
from tui_trainer.watch.formats.scalar_series import ScalarSource
from tui_trainer.watch.tables.flatten import flat
from tui_trainer.watch.tables.metric_decoder import null_non_finite
from tui_trainer.watch.tables.source import SourceFacts

MAGIC = b"SQLite format 3\0"
_SLICE = 500  # rows: some 5 ms
_MOST_RUNS = 2_000
_ENDS = {"FINISHED": "completed", "FAILED": "failed", "KILLED": "cancelled"}
Signature = tuple[int, ...]

# With an index on the run each step of these is one lookup, whatever the number of rows.
_TRACKIO_RUNS = """
    WITH RECURSIVE found(run) AS (
        SELECT min({run}) FROM metrics
        UNION ALL SELECT (SELECT min({run}) FROM metrics WHERE {run} > found.run) FROM found
        WHERE found.run IS NOT NULL LIMIT ?)
    SELECT run, (SELECT run_name FROM metrics WHERE {run} = found.run LIMIT 1)
    FROM found WHERE run IS NOT NULL
"""
_MLFLOW_RUNS = """
    SELECT run_uuid, name FROM runs WHERE lifecycle_stage IS NOT 'deleted'
    ORDER BY start_time LIMIT ?
"""


def query(path: Path, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of one query. Raises `sqlite3.Error`."""
    address = f"file:{quote(os.fsencode(path))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=0.0)) as connection:
        connection.text_factory = bytes
        return connection.execute(statement, values).fetchall()


def signature(path: Path) -> Signature:
    """A value that changes with every write to the database or its write-ahead log."""
    found: list[int] = []
    for name in (path, path.with_name(path.name + "-wal")):
        try:
            status = name.stat()
            found += [status.st_ino, status.st_size, status.st_mtime_ns]
        except OSError:
            found.append(0)
    return tuple(found)


def columns(path: Path, table: str) -> set[str]:
    """The columns of a table; empty where there is no such table. Raises `sqlite3.Error`."""
    return {
        decode_text(row[0])
        for row in query(path, "SELECT name FROM pragma_table_info(?)", (table,))
    }


def tool_of(path: Path) -> str | None:
    """ "trackio" or "mlflow", by the tables; None for another database. Raises `sqlite3.Error`."""
    found = columns(path, "metrics")
    if {"run_name", "step", "timestamp", "metrics"} <= found:
        return "trackio"
    if {"run_uuid", "step", "timestamp", "key", "value"} <= found:
        return "mlflow"
    return None


def runs_of(path: Path, tool: str) -> list[tuple[str, str]]:
    """Id and name of each run, at most 2,000. Raises `sqlite3.Error`."""
    if tool == "mlflow":
        rows = query(path, _MLFLOW_RUNS, (_MOST_RUNS,))
    else:
        rows = query(path, _TRACKIO_RUNS.format(run=run_column(path)), (_MOST_RUNS,))
    return [(decode_text(run), decode_text(name) or decode_text(run)) for run, name in rows]


def run_column(path: Path) -> str:
    """The column that identifies the runs of a Trackio project; older ones have names only."""
    return "run_id" if "run_id" in columns(path, "metrics") else "run_name"


class _DatabaseSource(ScalarSource):
    """One run of a database, read in the order of its rows."""

    def __init__(self, path: Path, run: str, ends_only: bool = False) -> None:
        super().__init__()
        self.path = path
        self._run, self._is_run = bound(run)
        self._malformed = 0
        self._ends_only = ends_only
        self._row = 0
        self._jumped = False
        self._inode = 0
        self._seen: Signature = ()
        self._facts = SourceFacts()

    @property
    def whole(self) -> bool:
        """Whether no rows were skipped."""
        return not self._jumped

    def read(self) -> tuple[bool, bool]:
        """Reads some rows; a database that is busy or incomplete is tried again next time."""
        seen = signature(self.path)
        if seen == self._seen or seen[0] == 0:
            return False, False
        restarted = seen[0] != self._inode and self._inode != 0
        if restarted:
            self.reset()
            self._row = 0
            self.warn("restarted", f"{self.path.name}: replaced, and read again from its start")
        self._inode = seen[0]
        try:
            count = self._rows()
            if self._ends_only and count >= _SLICE:
                self._jump()
            if count < _SLICE:
                self._facts = self._describe()
        except (sqlite3.Error, ValueError) as error:
            if "locked" in str(error) or "busy" in str(error):
                return restarted, False
            self._seen = seen
            return self.warn(
                "broken", f"{self.path.name}: cannot be read: {error}"
            ) or restarted, False
        changed = self.clear_warning("broken") or restarted or count > 0
        more = count >= _SLICE
        self.flush()
        if not more:
            changed |= self.rebuild() or not self._seen
            self._seen = seen
        return changed, more

    def facts(self) -> SourceFacts:
        """The facts recorded in the database."""
        ended = () if self._facts.status else ("state",)
        return dataclasses.replace(self._facts, lacks=self.lacks("checkpoints", *ended))

    def _jump(self) -> None:
        """Skips all but the newest rows, once."""
        self._ends_only = False
        statement = (
            f"SELECT rowid FROM metrics WHERE {self._run_column()} {self._is_run}"  # noqa: S608
            " ORDER BY rowid DESC LIMIT 1 OFFSET ?"
        )
        found = query(self.path, statement, (self._run, _SLICE))
        if found and found[0][0] > self._row:
            self._row, self._jumped = found[0][0], True

    def _leave_out(self) -> None:
        """Counts a row whose step is not a number."""
        self._malformed += 1
        which = formats.plural(self._malformed, "row has", "rows have")
        self.warn("steps", f"{self.path.name}: {which} a step that is not a number; left out")

    def _run_column(self) -> str:
        return "run_uuid"

    def _rows(self) -> int:
        raise AssertionError("a database is Trackio's or MLflow's")

    def _describe(self) -> SourceFacts:
        return SourceFacts()


class TrackioSource(_DatabaseSource):
    """One run of a Trackio project: a row of JSON per step."""

    def __init__(self, path: Path, run: str, ends_only: bool = False) -> None:
        super().__init__(path, run, ends_only)
        self._key = ""

    def _run_column(self) -> str:
        self._key = self._key or run_column(self.path)
        return self._key

    def _rows(self) -> int:
        rows = query(
            self.path,
            "SELECT id, timestamp, step, metrics FROM metrics"  # noqa: S608
            f" WHERE {self._run_column()} {self._is_run} AND id > ? ORDER BY id LIMIT ?",
            (self._run, self._row, _SLICE),
        )
        for row, stamp, step, content in rows:
            self._row = row
            found = _decode(content)
            values = {n: v for n, o in flat(found).items() if (v := measure(o)) is not None}
            self.naming.learn(list(values))
            named = {self.naming(name): value for name, value in values.items()}
            epoch = named.pop("epoch", None)
            named.pop("step", None)
            named.pop("time", None)
            at = step_number(step)
            if at is None and step is not None:
                self._leave_out()
                continue
            self.rows.add(at, named.items(), time=seconds(stamp), epoch=epoch)
        return len(rows)

    def _describe(self) -> SourceFacts:
        if not columns(self.path, "configs"):
            return SourceFacts()
        key = "run_id" if "run_id" in columns(self.path, "configs") else "run_name"
        rows = query(
            self.path,
            f"SELECT run_name, config, created_at FROM configs WHERE {key} {self._is_run}",  # noqa: S608
            (self._run,),
        )
        if not rows:
            return SourceFacts()
        name, config, created = rows[0]
        found = {n: v for n, v in flat(_decode(config)).items() if not n.startswith("_")}
        return SourceFacts(name=decode_text(name), config=found, created_at=seconds(created))


class MlflowDatabaseSource(_DatabaseSource):
    """One run of an MLflow database: a row per value."""

    def _rows(self) -> int:
        rows = query(
            self.path,
            "SELECT rowid, key, value, timestamp, step, is_nan FROM metrics"  # noqa: S608
            f" WHERE run_uuid {self._is_run} AND rowid > ? ORDER BY rowid LIMIT ?",
            (self._run, self._row, _SLICE),
        )
        for row, key, value, stamp, step, is_nan in rows:
            self._row = row
            one = None if is_nan else number(value)
            at = 0.0 if step is None else step_number(step)
            if at is None:
                self._leave_out()
                continue
            self.add_in_order(
                epoch_seconds(stamp, 1000) or 0.0,
                at,
                self.naming(decode_text(key)),
                math.nan if one is None else one,
            )
        return len(rows)

    def _describe(self) -> SourceFacts:
        rows = query(
            self.path,
            f"SELECT name, status, start_time FROM runs WHERE run_uuid {self._is_run}",  # noqa: S608
            (self._run,),
        )
        if not rows:
            return SourceFacts()
        name, status, started = rows[0]
        params = query(
            self.path,
            f"SELECT key, value FROM params WHERE run_uuid {self._is_run}",  # noqa: S608
            (self._run,),
        )
        return SourceFacts(
            name=decode_text(name) or None,
            config={f"params.{decode_text(key)}": decode_text(value) for key, value in params},
            created_at=epoch_seconds(started, 1000) or None,
            status=_ENDS.get(decode_text(status)),
        )


def _decode(content: Any) -> dict[str, Any]:
    data = content if isinstance(content, bytes) else str(content).encode()
    try:
        return msgspec.json.decode(null_non_finite(data), type=dict[str, Any])
    except BAD_CONTENT:
        return {}


def decode_text(value: Any) -> str:
    """A text of the database; bytes that are not UTF-8 become surrogates, as in file names."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)


def bound(text: str) -> tuple[str | bytes, str]:
    """A text as a parameter of a statement, and the condition for it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape"), "= CAST(? AS TEXT)"
    return text, "= ?"


def seconds(stamp: Any) -> float | None:
    """A time in seconds since the epoch, from such a number or from ISO 8601."""
    if isinstance(stamp, int | float):
        return epoch_seconds(stamp)
    try:
        return datetime.fromisoformat(decode_text(stamp)).timestamp()
    except (ValueError, OverflowError):
        return None
