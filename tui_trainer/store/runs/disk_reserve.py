"""Reserved disk space of a run, so that its last state can be written to a full disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tui_trainer.contracts.errors import reason_of
from tui_trainer.store import atomic

NAME = ".reserve"
RESERVE_BYTES = 256 * 1024  # enough for the last state, its events, and waiting metrics


def make(folder: Path) -> str | None:
    """Reserve space in a run's folder unless it is reserved; returns why it failed, or None."""
    file = folder / NAME
    with contextlib.suppress(OSError):
        if file.stat().st_size == RESERVE_BYTES:
            return None
    try:
        # Random bytes, since a file system with compression would store others in less space.
        atomic.write_bytes(file, os.urandom(RESERVE_BYTES), durable=False)
    except OSError as error:
        return reason_of(error)
    return None


def release(folder: Path) -> bool:
    """Free the reserved space; returns whether there was any."""
    try:
        (folder / NAME).unlink()
    except OSError:
        return False
    return True
