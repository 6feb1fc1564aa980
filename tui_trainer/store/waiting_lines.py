"""JSON lines that a full disk cannot take: they wait in memory and are written once it can."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tui_trainer.store import atomic

MOST_WAITING_BYTES = 4 << 20
RETRY_SECONDS = 1.0


class WaitingAppender:
    """Appends JSON lines to a file of which this is the only writer; for several threads.

    Where the disk is full, lines wait in memory, `most` bytes of them; of more, the oldest are
    dropped and counted in `lost`. They are written in order, and a line that was written in part
    is completed, so that nothing in the file is torn. Raises `OSError` for other faults.
    """

    def __init__(self, path: Path, most: int = MOST_WAITING_BYTES) -> None:
        self.lost = 0
        self._path = path
        self._most = most
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, atomic.PRIVATE)
        self._encoder = msgspec.json.Encoder()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._begun = False  # the first line that waits is in the file in part
        self._retry_at = 0.0
        self._lock = threading.Lock()
        if atomic.ends_torn(self._descriptor):
            self._put(b"\n")
            self._begun = True

    @property
    def waiting(self) -> int:
        """How many lines wait for room."""
        return len(self._lines)

    def append(self, record: object, *, durable: bool = False) -> None:
        """Writes one line; with `durable` it is on the disk when this returns, if there is room."""
        self.append_all([record], durable=durable)

    def append_all(self, records: Iterable[object], *, durable: bool = False) -> None:
        """Writes lines, all in one go."""
        with self._lock:
            for record in records:
                self._put(self._encoder.encode(record) + b"\n")
            if self._retry_at <= time.monotonic():
                self._write(durable=durable)
            self._shorten()

    def flush(self) -> bool:
        """Tries again to write what waits; whether nothing waits any more."""
        with self._lock:
            self._write(durable=False)
            return not self._lines

    def close(self) -> None:
        """Writes what waits, if it can be, and closes the file; flushes it to the disk first."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self.flush()
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _put(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)

    def _write(self, *, durable: bool) -> None:
        if not self._lines:
            return
        try:
            view = memoryview(b"".join(self._lines) if len(self._lines) > 1 else self._lines[0])
            while view:
                count = os.write(self._descriptor, view)
                view = view[count:]
                self._written(count)
            self._retry_at = 0.0
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            if not atomic.is_full(error):
                raise OSError(error.errno, error.strerror, str(self._path)) from None
            self._retry_at = time.monotonic() + RETRY_SECONDS

    def _written(self, count: int) -> None:
        """So many bytes of what waits are in the file."""
        self._bytes -= count
        while self._lines and count >= len(self._lines[0]):
            count -= len(self._lines.popleft())
            self._begun = False
        if count:
            self._lines[0] = self._lines[0][count:]
            self._begun = True

    def _shorten(self) -> None:
        """Drops the oldest lines while too much waits; never the rest of one that was begun."""
        while self._bytes > self._most and len(self._lines) > 1:
            at = 1 if self._begun else 0
            self._bytes -= len(self._lines[at])
            del self._lines[at]
            self.lost += 1
