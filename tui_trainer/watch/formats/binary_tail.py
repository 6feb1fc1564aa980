"""Reading a growing binary file by offset, whatever happens to the file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tui_trainer.store.regular_files import open_regular

SLICE = 32 * 1024
_FINGERPRINT_BYTES = 512
# Of a file seen from afar: its first slice and about this much of its end.
_END_BYTES = 4 * SLICE
_ALIGNED = 32 * 1024


@dataclass(frozen=True)
class BinaryChunk:
    """Bytes that arrived. `restarted`: the file is another one than before and `data` begins at
    its start; `more`: further bytes wait; `jumped`: bytes before `data` were passed over."""

    data: bytes = b""
    restarted: bool = False
    more: bool = False
    jumped: bool = False


class BinaryTail:
    """Hands out each byte of a file once, and notices a file that was replaced or cut.

    With `ends` the middle of a large file is passed over once, from one multiple of 32 KiB to
    another; `whole` tells whether none was.
    """

    def __init__(self, path: Path, ends_only: bool = False) -> None:
        self.path = path
        self.whole = True
        self._ends_only = ends_only
        self.offset = 0
        self._head = b""
        self._before = b""
        self._signature: tuple[int, int, int] | None = None

    def poll(self, limit: int = SLICE) -> BinaryChunk:
        """At most `limit` further bytes; one `stat` where nothing changed. Raises `OSError`
        where the file is there but cannot be read."""
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return BinaryChunk()
        signature = (status.st_ino, status.st_size, status.st_mtime_ns)
        if signature == self._signature:
            return BinaryChunk()
        with open_regular(self.path) as file:
            restarted = self._is_other(file.fileno())
            if restarted:
                self.offset, self._head, self._before = 0, b"", b""
            jumped = self._jump(status.st_size)
            data = os.pread(file.fileno(), limit, self.offset)
        if len(self._head) < _FINGERPRINT_BYTES:
            self._head = (self._head + data)[:_FINGERPRINT_BYTES]
        self._before = (self._before + data)[-_FINGERPRINT_BYTES:]
        self.offset += len(data)
        more = self.offset < status.st_size and bool(data)
        self._signature = None if more else signature
        return BinaryChunk(data, restarted, more, jumped)

    def _jump(self, size: int) -> bool:
        select = (size - _END_BYTES) // _ALIGNED * _ALIGNED
        if not self._ends_only or self.offset != SLICE or select <= SLICE:
            return False
        self.offset, self._before, self._ends_only, self.whole = select, b"", False, False
        return True

    def _is_other(self, descriptor: int) -> bool:
        """Bytes decide: inodes and times change for copies that went on, too."""
        if not self.offset:
            return False
        if os.pread(descriptor, len(self._head), 0) != self._head:
            return True
        start = self.offset - len(self._before)
        return os.pread(descriptor, len(self._before), start) != self._before
