"""Space that a run keeps in reserve, so that its last words fit on a disk that has become full."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tui_trainer.store import atomic

NAME = ".reserve"
# Enough for the last state, its events, and the metrics that wait for room.
RESERVE_BYTES = 256 * 1024


def make(folder: Path) -> str | None:
    """Puts space in reserve in a run's folder, where it is not; why not, in words, or None."""
    file = folder / NAME
    with contextlib.suppress(OSError):
        if file.stat().st_size == RESERVE_BYTES:
            return None
    try:
        # Random bytes: zeros or text would take no space where the file system compresses.
        atomic.write_bytes(file, os.urandom(RESERVE_BYTES), durable=False)
    except OSError as error:
        return error.strerror or str(error)
    return None


def release(folder: Path) -> bool:
    """Gives the space back; whether there was any."""
    try:
        (folder / NAME).unlink()
    except OSError:
        return False
    return True
