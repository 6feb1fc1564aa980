"""CSV logs: Lightning's CSVLogger, Keras' CSVLogger, and any other with a step or an epoch."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from tui_trainer.text import formats
from tui_trainer.text.delimited import delimiter
from tui_trainer.watch.formats.base import ForeignSource
from tui_trainer.watch.formats.binary_tail import BinaryTail
from tui_trainer.watch.formats.encodings.yaml_settings import read_flat
from tui_trainer.watch.formats.record_columns import EVAL, TRAIN, measured
from tui_trainer.watch.snapshots import MISSING, Column, is_missing
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.metric_decoder import MOST_COLUMNS, DecodedRows
from tui_trainer.watch.tables.source import SourceFacts

_QUIET_SECONDS = 2.0
_LONGEST_CELLS = 256 * 1024


class CsvSource(ForeignSource):
    """Reads one CSV file by offset as it grows.

    A row of names without a number is another header. Empty cells are missing values. Where there
    is no step, the epoch is used.
    """

    def __init__(self, path: Path, ends_only: bool = False) -> None:
        super().__init__()
        self.path = path
        self._tail = BinaryTail(path, ends_only)
        self._begin()

    def _begin(self) -> None:
        self._header: list[str] | None = None
        self._first_header: list[str] = []
        self._delimiter = ","
        self._held = b""
        self._pending = b""  # a last line without its end
        self._malformed = 0
        self._headers = 0
        self._config: dict[str, Any] | None = None

    @property
    def whole(self) -> bool:
        """Whether no rows were skipped."""
        return self._tail.whole

    def read(self) -> tuple[bool, bool]:
        """Reads one slice."""
        chunk = self._tail.poll()
        if chunk.restarted:
            before = set(self._first_header)
            self.reset()
            self._begin()
            # Lightning rewrites its file whenever a metric is added, which needs no warning.
            if not before < set(_cells(chunk.data.split(b"\n", 1)[0], ",")):
                self.warn(
                    "restarted",
                    f"{self.path.name}: replaced or truncated, and read again from its start",
                )
        if chunk.data:
            self.clear_warning("torn")
            data = chunk.data
            if chunk.jumped:
                data, self._pending, self._held = data[data.find(b"\n") + 1 :], b"", b""
            data = self._pending + data
            end = data.rfind(b"\n") + 1
            self._pending = data[end:][:_LONGEST_CELLS]
            self._feed(data[:end])
        return bool(chunk.data) or chunk.restarted, chunk.more

    def settle(self) -> bool:
        """Once the file has been quiet for a while, reads a complete last line without a
        newline."""
        line = self._pending
        if not line.strip():
            return False
        try:
            quiet = abs(time.time() - self.path.stat().st_mtime) > _QUIET_SECONDS
        except OSError:
            quiet = True
        if not quiet:
            return False
        if self._header and len(_cells(line, self._delimiter)) == len(self._header):
            self._pending = b""
            self._feed(line + b"\n")
            return True
        return self.warn("torn", f"{self.path.name}: the last line is cut off")

    def facts(self) -> SourceFacts:
        """The facts, with Lightning's settings from `hparams.yaml` beside the file."""
        if self._config is None:
            found = read_flat(self.path.parent / "hparams.yaml")
            self._config = {f"hparams.{name}": value for name, value in found.values.items()}
            if found.problem is not None:
                self.warn("settings", found.problem)
        return SourceFacts(config=self._config, lacks=self.lacks("state", "checkpoints"))

    def warnings(self) -> list[str]:
        """Warnings about the file, one sentence each."""
        warnings = super().warnings()
        if self._malformed:
            which = formats.plural(self._malformed, "line has", "lines have")
            warnings.append(
                f"{self.path.name}: {which} a different number of cells than the header"
            )
        if self._headers > 1:
            warnings.append(f"{self.path.name}: the header changes within the file")
        return warnings

    def _feed(self, data: bytes) -> None:
        data = self._held + data
        if data.count(b'"') % 2 and len(data) < _LONGEST_CELLS:
            # A quoted cell contains a line break: its first line is held until the rest is read.
            cut = data.rfind(b"\n", 0, data.rfind(b'"')) + 1
            data, self._held = data[:cut], data[cut:]
        else:
            self._held = b""
        if not data:
            return
        if self._header is None:
            data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
            self._delimiter = _delimiter(data)
        block: list[list[str]] = []
        for cells in _rows(data, self._delimiter):
            if not cells or (len(cells) == 1 and not cells[0].strip()):
                continue
            if self._header is None or is_header(cells):
                self._add_block(block)
                block = []
                self._new_header(cells)
            elif len(cells) != len(self._header):
                self._malformed += 1
            else:
                block.append(cells)
        self._add_block(block)

    def _new_header(self, cells: list[str]) -> None:
        header = [cell.strip() for cell in cells]
        if header != self._header:
            self._headers += 1
        self._header = header
        self._first_header = self._first_header or header
        self.naming.learn(header)

    def _add_block(self, block: list[list[str]]) -> None:
        if not block or self._header is None:
            return
        columns: dict[str, Column] = {}
        for name, cells in zip(self._header, zip(*block, strict=True), strict=True):
            values = _column(cells)
            if name and len(columns) < MOST_COLUMNS and not is_missing(values).all():
                columns[self.naming(name)] = values
        if "step" not in columns and "epoch" in columns:
            columns["step"] = columns["epoch"]
            if "step" not in self.rows.seen:
                self.warn("stepless", f"{self.path.name}: has no steps; epochs are used as steps")
        elif self._warnings.get("stepless") and "epoch" in columns:
            columns["step"] = columns["epoch"]
        self.rows.seen.update(columns)
        rows = split_kinds(columns, len(block))
        if rows is not None:
            self.history.append(rows)


def split_kinds(columns: dict[str, Column], count: int) -> DecodedRows | None:
    """Splits lines with training and evaluation values into two rows each, in order."""
    present = {TRAIN: np.zeros(count, dtype=np.bool_), EVAL: np.zeros(count, dtype=np.bool_)}
    sides: dict[str, int] = {}
    for name, values in columns.items():
        if name not in metric_names.INDEX_COLUMNS:
            sides[name] = EVAL if metric_names.is_eval(name) else TRAIN
            present[sides[name]] |= ~is_missing(values)
    lines = np.concatenate([np.flatnonzero(present[TRAIN]), np.flatnonzero(present[EVAL])])
    if not len(lines):
        return None
    trained = int(present[TRAIN].sum())
    kinds = np.repeat(np.array([TRAIN, EVAL], np.int8), [trained, len(lines) - trained])
    order = np.argsort(lines, kind="stable")
    lines, kinds = lines[order], kinds[order]
    made = {}
    for name, values in columns.items():
        made[name] = values[lines]
        if name in sides:
            made[name] = np.where(kinds == sides[name], made[name], MISSING)
    return DecodedRows(made, kinds)


def is_header(cells: list[str]) -> bool:
    """Whether cells are a header: none is a number, and one is the name of a step or epoch."""
    found = [cell.strip() for cell in cells]
    if any(_number(cell) is not None for cell in found if cell):
        return False
    return any(metric_names.canonical(cell) in ("step", "epoch") for cell in found)


def holds_metrics(head: bytes) -> bool:
    """Whether a file with this beginning is a log: a header with a step or epoch, then numbers."""
    end = head.rfind(b"\n") + 1
    head = head[:end].removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not head or b"\0" in head[:1024]:
        return False
    separator = _delimiter(head)
    rows = _rows(head[: 16 * 1024], separator)
    if not rows or not is_header(rows[0]) or len(rows[0]) < 2:
        return False
    header = [metric_names.canonical(cell.strip()) for cell in rows[0]]
    index = header.index("step") if "step" in header else header.index("epoch")
    for cells in rows[1:]:
        if len(cells) != len(header) or _number(cells[index].strip()) is None:
            continue
        rest = (
            c for c, n in zip(cells, header, strict=True) if n not in metric_names.INDEX_COLUMNS
        )
        if any(_number(cell.strip()) is not None for cell in rest):
            return True
    return False


def _delimiter(head: bytes) -> str:
    return delimiter(head.split(b"\n", 1)[0].decode("utf-8", "replace"))


def _rows(data: bytes, separator: str) -> list[list[str]]:
    content = data.decode("utf-8", "replace").replace("\0", "")
    try:
        return list(csv.reader(io.StringIO(content, newline=""), delimiter=separator))
    except csv.Error:  # a cell longer than the module's limit
        return [line.split(separator) for line in content.replace("\r", "").split("\n")]


def _cells(line: bytes, separator: str) -> list[str]:
    return next(iter(_rows(line, separator)), [])


def _column(cells: tuple[str, ...]) -> Column:
    try:
        found = measured(np.array([float(cell) if cell else 0.0 for cell in cells]))
    except ValueError:
        return np.array([MISSING if (v := _number(c.strip())) is None else v for c in cells])
    if "" in cells:
        found[[not cell for cell in cells]] = MISSING
    return found


def _number(cell: str) -> float | None:
    try:
        value = float(cell)  # also NaN and infinity, in any spelling
    except ValueError:
        return None
    return value if math.isfinite(value) else math.nan
