"""Writing so that a kill at any instant leaves the old file or the new one, never half."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

PRIVATE = 0o600
# No space, the user's share of it is used up, or no file may become larger.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException) -> bool:
    """Whether an exception says that there is no room on the disk."""
    return isinstance(error, OSError) and error.errno in _FULL


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replaces `path` atomically: temporary name, flush, rename.

    `durable=False` leaves out the fsync, for files that are rewritten all the time and whose
    loss with the machine's power costs nothing (state.json); the rename is atomic all the same.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        sync_dir(path.parent)


def write_json(path: Path, value: object, *, durable: bool = True) -> None:
    """Replaces `path` atomically with `value` as indented JSON."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    write_bytes(path, data, durable=durable)


def write_json_in_place(path: Path, value: object) -> None:
    """Writes `value` over a file of ours that is there, without asking for space: the last resort
    on a full disk. Padded to the former length with blanks, and written by a single call, which a
    kill cannot divide."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=2)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        padded = data.ljust(os.fstat(descriptor).st_size - 1) + b"\n"
        os.pwrite(descriptor, padded, 0)
    finally:
        os.close(descriptor)


def sync_dir(path: Path) -> None:
    """Flushes a folder's entries, so that a rename in it survives a power cut."""
    with contextlib.suppress(OSError):  # some file systems refuse to open folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flushes a finished file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LineAppender:
    """Appends JSON lines, each with a single write, so that several processes may append.

    A torn last line (its writer was killed, or its disk full) is closed first, so that it spoils
    only itself.
    The file is made for the user alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, PRIVATE)
        self._encoder = msgspec.json.Encoder()
        self._torn = False
        if ends_torn(self._descriptor):
            os.write(self._descriptor, b"\n")

    def append(self, record: object, *, durable: bool = False) -> None:
        """Writes one line; with `durable` it is on the disk when this returns."""
        self.append_all([record], durable=durable)

    def append_all(self, records: Iterable[object], *, durable: bool = False) -> None:
        """Writes lines, all in one go."""
        data = b"".join(self._encoder.encode(record) + b"\n" for record in records)
        view = memoryview(b"\n" + data if self._torn else data)
        self._torn = True
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._torn = False
        if durable:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Closes the file; flushes it to the disk first."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


@contextlib.contextmanager
def appending(path: Path) -> Iterator[LineAppender]:
    """A `LineAppender` that closes by itself."""
    appender = LineAppender(path)
    try:
        yield appender
    finally:
        appender.close()


def ends_torn(descriptor: int) -> bool:
    """Whether an open file ends in the middle of a line."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
