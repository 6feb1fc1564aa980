"""Entries of a cache folder: each file is a SHA-256 digest followed by the data that it is of.

A damaged entry counts as missing. The least recently used entries are deleted first.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from tui_trainer.store import atomic, paths

_DIGEST = hashlib.sha256().digest_size


def read(file: Path) -> bytes | None:
    """Return an entry's data and note its use; None where it is missing or damaged."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    data = content[_DIGEST:]
    if hashlib.sha256(data).digest() != content[:_DIGEST]:
        return None
    with contextlib.suppress(OSError):  # the time of use matters only to `write`
        file.touch()
    return data


def write(file: Path, data: bytes, most_bytes: int) -> None:
    """Write an entry, readable by the user alone, and delete others of the same suffix until all
    take at most `most_bytes`. Raises `OSError`."""
    paths.make_private_dir(file.parent)
    atomic.write_bytes(file, hashlib.sha256(data).digest() + data, durable=False)
    _prune(file.parent, file.suffix, most_bytes)


def _prune(folder: Path, suffix: str, most_bytes: int) -> None:
    entries = []
    for file in folder.glob(f"*{suffix}"):
        with contextlib.suppress(OSError):  # deleted by another run
            facts = file.stat()
            entries.append((facts.st_mtime_ns, facts.st_size, file))
    total = sum(size for _, size, _ in entries)
    for _, size, file in sorted(entries):
        if total <= most_bytes:
            return
        file.unlink(missing_ok=True)
        total -= size
