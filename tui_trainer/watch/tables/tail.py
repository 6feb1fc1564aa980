"""Reading a growing file of lines by offset, whatever happens to the file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tui_trainer.store.regular_files import open_regular

SLICE = 512 * 1024
# A line longer than this is not a record of ours or of anyone's; it is skipped.
LONGEST_LINE = 4 * 1024 * 1024
_PRINT = 1024


@dataclass(frozen=True)
class Chunk:
    """What one poll gave.

    `data` are whole lines, each with its newline. `restarted` says that the file is another one
    than before (replaced, truncated, rewritten) and `data` begins at its start; `more` that
    further bytes are waiting; `skipped` counts over-long lines left out.
    """

    data: bytes = b""
    restarted: bool = False
    more: bool = False
    skipped: int = 0


class Tail:
    """Hands out each whole line of a file once.

    A last line without a newline is kept until the newline arrives; see `take_last`. An absent
    file gives nothing, and one that vanishes leaves what was read as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0  # of the first byte not read yet
        self._pending = bytearray()
        self._skipping = False
        self._head = b""
        self._before = b""  # the bytes just before the offset
        self._seen: tuple[int, int, int] | None = None

    @property
    def offset(self) -> int:
        """Bytes read so far, a pending last line among them."""
        return self._offset

    @property
    def pending(self) -> bytes:
        """A last line that has no newline yet."""
        return bytes(self._pending)

    def poll(self, limit: int = SLICE) -> Chunk:
        """The whole lines that arrived since, from about `limit` bytes at most.

        Costs one `stat` where nothing changed. Raises `OSError` only where the file is there
        but cannot be read, as a folder or a pipe.
        """
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return Chunk()
        seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        if seen == self._seen:
            return Chunk()
        with open_regular(self.path) as file:
            return self._read(file.fileno(), seen, limit)

    def take_last(self) -> bytes:
        """Hands out the pending last line after all, for a file whose writer is gone."""
        line = bytes(self._pending)
        self._pending.clear()
        return line + b"\n" if line else b""

    def _read(self, descriptor: int, seen: tuple[int, int, int], limit: int) -> Chunk:
        restarted = self._is_other(descriptor)
        if restarted:
            self._offset, self._skipping, self._head, self._before = 0, False, b"", b""
            self._pending.clear()
        data = os.pread(descriptor, limit, self._offset)
        if len(self._head) < _PRINT:
            self._head = (self._head + data[:_PRINT])[:_PRINT]
        self._before = (self._before + data[-_PRINT:])[-_PRINT:]
        self._offset += len(data)
        more = self._offset < seen[1]
        # What grew since the stat is found by the next poll, as its size differs from `seen`.
        self._seen = None if more else seen
        lines, skipped = self._cut(data)
        return Chunk(lines, restarted, more, skipped)

    def _is_other(self, descriptor: int) -> bool:
        """Whether the file is not the one read so far, gone on. Names, inodes and times may
        all change for a copy that went on and all stay for one that did not: bytes decide."""
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
