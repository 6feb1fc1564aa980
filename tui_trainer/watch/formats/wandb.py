"""Reads W&B's `.wandb` files, blocks of a LevelDB log around protocol buffers.

Blocks are as in https://github.com/google/leveldb/blob/main/doc/log_format.md, with a header of
seven bytes before the first record and zlib's CRC-32; messages are as in wandb_internal.proto.
"""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.text import formats
from tui_trainer.watch.formats.base import ForeignSource
from tui_trainer.watch.formats.binary_tail import BinaryTail
from tui_trainer.watch.formats.encodings.protobuf import BYTES, fields, signed, text
from tui_trainer.watch.formats.record_columns import number
from tui_trainer.watch.tables.flatten import flat
from tui_trainer.watch.tables.metric_decoder import null_non_finite
from tui_trainer.watch.tables.source import SourceFacts

MAGIC = b":W&B\xe1\xbe\x00"
_BLOCK = 32 * 1024
_HEADER = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_LONGEST = 64 * 1024 * 1024
_QUIET_SECONDS = 2.0
# A loop's own counter is preferred to the number of calls of `log`.
_STEP_KEYS = ("train/global_step", "trainer/global_step", "global_step")
_POSITION_KEYS = frozenset({"_step", "_timestamp", "_runtime"})


class RecordBlocks:
    """Splits a growing log into whole records; after damage it continues with the next block."""

    def __init__(self) -> None:
        self.damaged = 0  # records or parts of records
        self._rest = b""
        self._at = 0  # offset of `_rest` in the file
        self._parts: list[bytes] | None = None

    @property
    def pending(self) -> bool:
        """Whether there is an incomplete record."""
        return bool(self._rest.strip(b"\0")) or self._parts is not None

    def forget(self) -> None:
        """Drops an incomplete record, after bytes were skipped."""
        self._parts = None

    def feed(self, data: bytes) -> list[bytes]:
        """Adds data; returns the records that are complete."""
        buffer, base, at = self._rest + data, self._at, 0
        found: list[bytes] = []
        if not base:
            if len(buffer) < len(MAGIC):
                self._rest = buffer
                return []
            at = len(MAGIC)
        while True:
            left = _BLOCK - (base + at) % _BLOCK
            if left < _HEADER.size:
                if at + left > len(buffer):
                    break
                at += left
                continue
            if at + _HEADER.size > len(buffer):
                break
            check, size, kind = _HEADER.unpack_from(buffer, at)
            fits = kind in (_FULL, _FIRST, _MIDDLE, _LAST) and size <= left - _HEADER.size
            end = at + _HEADER.size + size
            if fits and end > len(buffer):
                break
            if not fits or zlib.crc32(buffer[at + 6 : end]) != check:
                if at + left > len(buffer):
                    break  # it may be incomplete; there is a warning once the file is quiet
                self.damaged += 1
                self._parts = None
                at += left
                continue
            self._join(kind, buffer[at + _HEADER.size : end], found)
            at = end
        self._rest, self._at = buffer[at:], base + at
        return found

    def _join(self, kind: int, data: bytes, found: list[bytes]) -> None:
        if kind in (_FULL, _FIRST) and self._parts is not None:
            self.damaged += 1
            self._parts = None
        if kind == _FULL:
            found.append(data)
        elif kind == _FIRST:
            self._parts = [data]
        elif self._parts is None:
            self.damaged += 1  # its beginning is missing
        else:
            self._parts.append(data)
            if kind == _LAST:
                found.append(b"".join(self._parts))
                self._parts = None
            elif sum(map(len, self._parts)) > _LONGEST:
                self._parts = None


class WandbSource(ForeignSource):
    """Reads one `.wandb` file as it grows."""

    def __init__(self, path: Path, ends_only: bool = False) -> None:
        super().__init__()
        self._tail = BinaryTail(path, ends_only)
        self._begin()

    def _begin(self) -> None:
        self._blocks = RecordBlocks()
        self._step_key: str | None = None
        self._is_first = True
        self._config: dict[str, Any] = {}
        self._name: str | None = None
        self._created: float | None = None
        self._exit: int | None = None
        self._unreadable = 0

    @property
    def whole(self) -> bool:
        """Whether no rows were skipped."""
        return self._tail.whole

    def read(self) -> tuple[bool, bool]:
        """Reads one slice."""
        chunk = self._tail.poll()
        if chunk.restarted:
            self.reset()
            self._begin()
            self.warn(
                "restarted",
                f"{self._tail.path.name}: replaced or truncated, and read again from its start",
            )
        if chunk.data:
            self.clear_warning("torn")
            if chunk.jumped:
                self._blocks.forget()
            for record in self._blocks.feed(chunk.data):
                try:
                    self._read_record(record)
                except BAD_CONTENT:
                    self._unreadable += 1
            damaged = self._blocks.damaged + self._unreadable
            if damaged:
                which = formats.plural(damaged, "record is", "records are")
                self.warn("damage", f"{self._tail.path.name}: {which} damaged; left out")
            self.flush()
        return bool(chunk.data) or chunk.restarted, chunk.more

    def settle(self) -> bool:
        """Adds a warning that the last record is cut off, once the file has been quiet for a
        while."""
        path = self._tail.path
        if not self._blocks.pending or self._exit is not None:
            return False
        try:
            quiet = abs(time.time() - path.stat().st_mtime) > _QUIET_SECONDS
        except OSError:
            quiet = True
        return quiet and self.warn("torn", f"{path.name}: the last record is cut off")

    def facts(self) -> SourceFacts:
        """Name, settings and status."""
        ended = None if self._exit is None else "failed" if self._exit else "completed"
        return SourceFacts(
            name=self._name,
            config=self._config,
            created_at=self._created,
            status=ended,
            message=f"exit code {self._exit}" if self._exit else "",
            lacks=self.lacks("checkpoints", *(() if ended else ("state",))),
        )

    def _read_record(self, record: bytes) -> None:
        for what, wire, start, end in fields(record):
            if wire != BYTES:
                continue
            if what == 2:
                self._read_history(record, start, end)
            elif what == 5:
                self._read_config(record, start, end)
            elif what == 17:
                self._read_run(record, start, end)
            elif what == 18:
                self._exit = 0
                for part, kind, value, _ in fields(record, start, end):
                    if part == 1 and kind == 0:
                        self._exit = signed(value)

    def _read_history(self, data: bytes, start: int, end: int) -> None:
        values: dict[str, float] = {}
        counted: float | None = None
        for part, wire, begin, stop in fields(data, start, end):
            if part == 1 and wire == BYTES:
                key, value = _item(data, begin, stop)
                _numbers(key, value, values)
            elif part == 2 and wire == BYTES:
                inner = [b for n, w, b, _ in fields(data, begin, stop) if n == 1 and w == 0]
                counted = float(signed(inner[0])) if inner else 0.0
        counted = values.get("_step", counted)
        if self._is_first:
            self._is_first = False
            self._step_key = next((key for key in _STEP_KEYS if key in values), None)
            self.naming.learn(list(values))
        step = counted if self._step_key is None else values.pop(self._step_key, None)
        measured = []
        epoch = None
        for key, one in values.items():
            if key in _POSITION_KEYS:
                continue
            name = self.naming(key)
            if name == "epoch":
                epoch = one
            elif name not in ("step", "time"):
                measured.append((name, one))
        self.rows.add(step, measured, time=values.get("_timestamp"), epoch=epoch)

    def _read_config(self, data: bytes, start: int, end: int) -> None:
        for part, wire, begin, stop in fields(data, start, end):
            if part == 1 and wire == BYTES:
                key, value = _item(data, begin, stop)
                if not key.startswith("_wandb"):
                    found = _decode(value)
                    self._config |= flat(found, key) if isinstance(found, dict) else {key: found}

    def _read_run(self, data: bytes, start: int, end: int) -> None:
        for part, wire, begin, stop in fields(data, start, end):
            if wire != BYTES:
                continue
            if part == 4:
                self._read_config(data, begin, stop)
            elif part == 8:
                self._name = text(data, begin, stop) or self._name
            elif part == 17:
                for inner, kind, value, _ in fields(data, begin, stop):
                    if inner == 1 and kind == 0:
                        self._created = float(signed(value))


def _item(data: bytes, start: int, end: int) -> tuple[str, bytes]:
    """Key and JSON value of an item of the history or configuration."""
    keys: list[str] = []
    value = b""
    for part, wire, begin, stop in fields(data, start, end):
        if wire == BYTES and part in (1, 2):
            keys.append(text(data, begin, stop))
        elif wire == BYTES and part == 16:
            value = data[begin:stop]
    return ".".join(key for key in keys if key), value


def _numbers(key: str, value: bytes, found: dict[str, float]) -> None:
    """Adds the numbers of one item to `found`, those of a nested one as `key.inner`."""
    try:
        found[key] = float(value)  # also NaN and Infinity
        return
    except ValueError:
        pass
    decoded = _decode(value)
    nested = flat(decoded, key) if isinstance(decoded, dict) else {key: decoded}
    if "_type" in decoded if isinstance(decoded, dict) else False:
        return  # an image, table or histogram
    for name, one in nested.items():
        plain = number(one)
        if plain is not None:
            found[name] = plain


def _decode(value: bytes) -> Any:
    try:
        return msgspec.json.decode(null_non_finite(value))
    except BAD_CONTENT:
        return None
