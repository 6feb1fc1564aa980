"""Standard output and error that cannot end the engine: `engine.log` may be on a full disk, and the
reader of a pipe may have ended."""

from __future__ import annotations

import contextlib
import io
import os
import sys


class Console(io.TextIOBase):
    """Text stream for a file descriptor, unbuffered; text that cannot be written is dropped."""

    encoding = "utf-8"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        """Write as much as possible; return the length of the whole text."""
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._descriptor, data) :]
        return len(text)

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor, for libraries that write to it directly."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)


def protect() -> None:
    """Replace standard output and standard error by such streams."""
    sys.stdout, sys.stderr = Console(1), Console(2)
