"""Reading a growing binary file by offset, also where it is replaced or truncated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tui_trainer.store.regular_files import open_regular

SLICE = 32 * 1024
_FINGERPRINT_BYTES = 512
# With `ends_only`, the first slice of a file is read and about this much of its end.
_END_BYTES = 4 * SLICE
_ALIGNED = 32 * 1024


@dataclass(frozen=True)
class BinaryChunk:
    """The result of one poll."""

    data: bytes = b""
    restarted: bool = False  # the file was replaced or truncated; `data` is from its start
    more: bool = False  # there are further bytes
    jumped: bool = False  # bytes before `data` were skipped


class BinaryTail:
    """Returns each byte of a file once, and detects a file that was replaced or truncated.

    With `ends_only` the middle of a large file is skipped, from one multiple of 32 KiB to another;
    `whole` is False then.
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
        """The next bytes, at most `limit`; costs one `stat` where nothing changed. Raises
        `OSError` where the file exists but cannot be read."""
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
        target = (size - _END_BYTES) // _ALIGNED * _ALIGNED
        if not self._ends_only or self.offset != SLICE or target <= SLICE:
            return False
        self.offset, self._before, self._ends_only, self.whole = target, b"", False, False
        return True

    def _is_other(self, descriptor: int) -> bool:
        """Whether the file is not a continuation. The bytes decide, as a continued copy may have
        another inode and time."""
        if not self.offset:
            return False
        if os.pread(descriptor, len(self._head), 0) != self._head:
            return True
        start = self.offset - len(self._before)
        return os.pread(descriptor, len(self._before), start) != self._before
