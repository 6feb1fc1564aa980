"""Opening regular files only, in folders that other programs may write to."""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path

_ALL = 1 << 62
_LEAST = 4096
_MARK = b"\xef\xbb\xbf"
NOT_REGULAR = "not a regular file"


def open_regular(path: Path) -> FileIO:
    """Open a regular file for reading, without a buffer.

    Raises `OSError` for a folder, and for a pipe, a socket or a device, which could block the
    reader or never end.
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
    """The first `most` bytes of a regular file; default: all. Raises `OSError`."""
    with open_regular(path) as file:
        parts = []
        ahead = os.fstat(file.fileno()).st_size + 1  # `read` allocates the size it is given
        while most > 0 and (part := file.read(min(most, max(ahead, _LEAST)))):
            parts.append(part)
            most -= len(part)
            ahead -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def without_mark(data: bytes) -> bytes:
    """UTF-8 text without the byte order mark that some editors put before it."""
    return data.removeprefix(_MARK)
