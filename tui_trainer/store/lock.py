"""One process at a time: a lock that ends with its holder, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tui_trainer.store import atomic


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds `file` (made empty for the user alone) locked; waits for another holder.

    A process that is killed lets go of it. Threads of one process exclude each other too, for
    every call opens the file anew. Not reentrant.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, atomic.PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
