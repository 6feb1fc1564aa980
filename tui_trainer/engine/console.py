"""What the engine prints must not end it: `engine.log` may lie on a full disk, and whoever reads a
pipe may be gone."""

from __future__ import annotations

import contextlib
import io
import os
import sys


class Console(io.TextIOBase):
    """Text for a file descriptor, written at once; what cannot be written is dropped."""

    encoding = "utf-8"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        """Writes as much as can be written; says that it was all."""
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._descriptor, data) :]
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The descriptor, for libraries that write past Python."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)


def protect() -> None:
    """Puts such streams in the place of standard output and standard error."""
    sys.stdout, sys.stderr = Console(1), Console(2)
