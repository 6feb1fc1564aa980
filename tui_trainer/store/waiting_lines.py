"""Appending JSON lines that stay in memory while the disk is full."""

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
    """Appends JSON lines to a file of which this is the only writer. Thread-safe.

    While the disk is full, up to `most` bytes of lines are kept in memory; of more, the oldest
    are dropped and counted in `lost`. Lines are written in order, and a partly written line is
    completed, so that the file has no incomplete line. Raises `OSError` for other errors.
    """

    def __init__(self, path: Path, most: int = MOST_WAITING_BYTES) -> None:
        self.lost = 0
        self._path = path
        self._most = most
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, atomic.PRIVATE)
        self._encoder = msgspec.json.Encoder()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._partial = False  # the first waiting line is partly written
        self._retry_at = 0.0
        self._lock = threading.Lock()
        if atomic.ends_torn(self._descriptor):
            self._put(b"\n")
            self._partial = True

    @property
    def waiting(self) -> int:
        """How many lines are in memory only."""
        return len(self._lines)

    def append(self, record: object, *, durable: bool = False) -> None:
        """Write one line; with `durable` it is on the disk when this returns, if it fits."""
        self.append_all([record], durable=durable)

    def append_all(self, records: Iterable[object], *, durable: bool = False) -> None:
        """Write several lines with a single write."""
        with self._lock:
            for record in records:
                self._put(self._encoder.encode(record) + b"\n")
            if self._retry_at <= time.monotonic():
                self._write(durable=durable)
            self._shorten()

    def flush(self) -> bool:
        """Try to write the waiting lines; returns whether none is left."""
        with self._lock:
            self._write(durable=False)
            return not self._lines

    def close(self) -> None:
        """Write the waiting lines if possible, flush the file to the disk, and close it."""
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
        """Remove the first `count` bytes, which are written, from the waiting lines."""
        self._bytes -= count
        while self._lines and count >= len(self._lines[0]):
            count -= len(self._lines.popleft())
            self._partial = False
        if count:
            self._lines[0] = self._lines[0][count:]
            self._partial = True

    def _shorten(self) -> None:
        """Drop the oldest waiting lines beyond `most` bytes, but not a partly written one."""
        while self._bytes > self._most and len(self._lines) > 1:
            at = 1 if self._partial else 0
            self._bytes -= len(self._lines[at])
            del self._lines[at]
            self.lost += 1
