"""One process at a time: a lock that ends with its holder, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tui_trainer.store import atomic

_POLL_SECONDS = 0.02


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds `file` (made empty for the user alone) locked; waits for another holder.

    A process that is killed lets go of it. Threads of one process exclude each other too, for
    every call opens the file anew. Not reentrant.
    """
    descriptor = _open(file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def trying(file: Path, seconds: float = 0.0) -> Iterator[bool]:
    """As `locked`, but waits `seconds` at most; whether the lock was got. Raises `OSError` where
    the file cannot be opened."""
    descriptor, deadline = _open(file), time.monotonic() + seconds
    try:
        while not (got := _take(descriptor)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        yield got
    finally:
        os.close(descriptor)


def is_held(file: Path) -> bool:
    """Whether a process holds the lock. For an instant this takes the lock itself."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, atomic.PRIVATE)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
