"""Opening files that anyone may have put there: regular ones only."""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path

_ALL = 1 << 62
_LEAST = 4096
NOT_REGULAR = "not a regular file"


def open_regular(path: Path) -> FileIO:
    """Open a file for reading, without a buffer.

    A pipe, a socket or a device would block its reader for ever or never end: for one of them,
    and for a folder, this raises an `OSError` that says so, and does not wait.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise OSError(errno.ENXIO, NOT_REGULAR, str(path)) from None
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "a folder, not a file", str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int = _ALL) -> bytes:
    """The first `most` bytes of a file, all without. Raises `OSError`."""
    with open_regular(path) as file:
        parts = []
        ahead = os.fstat(file.fileno()).st_size + 1  # a read reserves what it asks for
        while most > 0 and (part := file.read(min(most, max(ahead, _LEAST)))):
            parts.append(part)
            most -= len(part)
            ahead -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
