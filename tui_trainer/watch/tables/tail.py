"""Reading a growing file of lines by offset, also where it is replaced or truncated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tui_trainer.store.regular_files import open_regular

SLICE = 512 * 1024
# A longer line is not a record of metrics; it is skipped.
LONGEST_LINE = 4 * 1024 * 1024
_FINGERPRINT_BYTES = 1024


@dataclass(frozen=True)
class Chunk:
    """The result of one poll."""

    data: bytes = b""  # whole lines, each with its newline
    restarted: bool = False  # the file was replaced or truncated; `data` is from its start
    more: bool = False  # there are further bytes
    skipped: int = 0  # lines that were too long and left out


class Tail:
    """Returns each whole line of a file once.

    A last line without a newline is pending until the newline is written; see `take_last`. A file
    that does not exist has no lines; one that is deleted counts as unchanged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0  # of the first byte not read yet
        self._pending = bytearray()
        self._skipping = False
        self._head = b""
        self._before = b""  # the bytes just before the offset
        self._signature: tuple[int, int, int] | None = None

    @property
    def offset(self) -> int:
        """Bytes read so far, including a pending last line."""
        return self._offset

    @property
    def pending(self) -> bytes:
        """A last line that has no newline yet."""
        return bytes(self._pending)

    def poll(self, limit: int = SLICE) -> Chunk:
        """The whole lines written since the last call, at most about `limit` bytes.

        Costs one `stat` where nothing changed. Raises `OSError` where the file exists but cannot
        be read, or is a folder or a pipe.
        """
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return Chunk()
        signature = (status.st_ino, status.st_size, status.st_mtime_ns)
        if signature == self._signature:
            return Chunk()
        with open_regular(self.path) as file:
            return self._read(file.fileno(), signature, limit)

    def take_last(self) -> bytes:
        """Returns the pending last line, for a file whose writer has ended."""
        line = bytes(self._pending)
        self._pending.clear()
        return line + b"\n" if line else b""

    def _read(self, descriptor: int, signature: tuple[int, int, int], limit: int) -> Chunk:
        restarted = self._is_other(descriptor)
        if restarted:
            self._offset, self._skipping, self._head, self._before = 0, False, b"", b""
            self._pending.clear()
        data = os.pread(descriptor, limit, self._offset)
        if len(self._head) < _FINGERPRINT_BYTES:
            self._head = (self._head + data[:_FINGERPRINT_BYTES])[:_FINGERPRINT_BYTES]
        self._before = (self._before + data[-_FINGERPRINT_BYTES:])[-_FINGERPRINT_BYTES:]
        self._offset += len(data)
        more = self._offset < signature[1]
        # What was written since the `stat` is found by the next poll, as the size differs.
        self._signature = None if more else signature
        lines, skipped = self._cut(data)
        return Chunk(lines, restarted, more, skipped)

    def _is_other(self, descriptor: int) -> bool:
        """Whether the file is not a continuation of what was read. The bytes decide: a continued
        copy may have another inode and time, a replaced file the same ones."""
        if self._offset == 0:
            return False
        if os.pread(descriptor, len(self._head), 0) != self._head:
            return True
        start = self._offset - len(self._before)
        return os.pread(descriptor, len(self._before), start) != self._before

    def _cut(self, data: bytes) -> tuple[bytes, int]:
        skipped = 0
        if self._skipping:
            end = data.find(b"\n")
            if end < 0:
                return b"", 0
            data, self._skipping = data[end + 1 :], False
        end = data.rfind(b"\n") + 1
        if not end:
            self._pending += data
            lines = b""
        else:
            lines = b"".join((self._pending, memoryview(data)[:end]))
            self._pending[:] = data[end:]
        if len(self._pending) > LONGEST_LINE:
            self._pending.clear()
            self._skipping = True
            skipped = 1
        return lines, skipped
