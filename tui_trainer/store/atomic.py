"""Atomic file writes and appended JSON lines, safe against a kill at any time."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec

PRIVATE = 0o600
# Disk full, quota exceeded, or file size limit reached.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_full(error: BaseException) -> bool:
    """Whether an exception means that the disk is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace `path` atomically: temporary name, flush, rename.

    `durable=False` omits the fsync, for files that are rewritten often and may be lost in a power
    cut (state.json); the rename is still atomic.
    """
    with replacing(path, durable=durable) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """A file of a temporary name, open for writing, that replaces `path` at the end of the `with`
    block, or is removed where the block fails. `durable` as in `write_bytes`."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
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
    """Replace `path` atomically with `value` as indented JSON."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    write_bytes(path, data, durable=durable)


def write_json_in_place(path: Path, value: object) -> None:
    """Overwrite an existing file with `value`, without allocating space: the last resort on a full
    disk. The text is padded with spaces to the former length and written by a single call, which
    a kill cannot interrupt."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=2)
    descriptor = os.open(path, os.O_WRONLY)
    try:
        padded = data.ljust(os.fstat(descriptor).st_size - 1) + b"\n"
        os.pwrite(descriptor, padded, 0)
    finally:
        os.close(descriptor)


def sync_dir(path: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    with contextlib.suppress(OSError):  # some file systems cannot open folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush a finished file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LineAppender:
    """Appends JSON lines, each with a single write, so that several processes may append.

    An incomplete last line (its writer was killed, or the disk full) is ended first, so that no
    other line is damaged. A new file is readable by the user only.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, PRIVATE)
        self._encoder = msgspec.json.Encoder()
        self._torn = False
        if ends_torn(self._descriptor):
            os.write(self._descriptor, b"\n")

    def append(self, record: object, *, durable: bool = False) -> None:
        """Write one line; with `durable` it is on the disk when this returns."""
        self.append_all([record], durable=durable)

    def append_all(self, records: Iterable[object], *, durable: bool = False) -> None:
        """Write several lines with a single write."""
        data = b"".join(self._encoder.encode(record) + b"\n" for record in records)
        view = memoryview(b"\n" + data if self._torn else data)
        self._torn = True
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._torn = False
        if durable:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Flush the file to the disk and close it."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


@contextlib.contextmanager
def appending(path: Path) -> Iterator[LineAppender]:
    """A `LineAppender` that is closed at the end of a `with` block."""
    appender = LineAppender(path)
    try:
        yield appender
    finally:
        appender.close()


def ends_torn(descriptor: int) -> bool:
    """Whether an open file ends with an incomplete line."""
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
