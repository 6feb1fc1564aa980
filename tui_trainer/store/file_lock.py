"""File locks, released when their holder closes them or ends in any way."""

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
    """Hold a lock on `file`, which is created if needed; blocks while another holds it.

    The lock is released if the process is killed. It also excludes threads of one process, since
    every call opens the file again. Not reentrant.
    """
    descriptor = _open(file)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def try_lock(file: Path, seconds: float = 0.0) -> Iterator[bool]:
    """As `locked`, but wait at most `seconds`; yields whether the lock was acquired. Raises
    `OSError` if the file cannot be opened."""
    descriptor, deadline = _open(file), time.monotonic() + seconds
    try:
        while not (acquired := _acquire(descriptor)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        yield acquired
    finally:
        os.close(descriptor)


def is_held(file: Path) -> bool:
    """Whether a process holds the lock. This acquires the lock itself for a moment."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _acquire(descriptor)
    finally:
        os.close(descriptor)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, atomic.PRIVATE)


def _acquire(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
