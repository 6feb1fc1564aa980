"""Entries of a cache folder: each file is a SHA-256 digest followed by the data that it is of.

A damaged entry counts as missing. The least recently used entries are deleted first.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import IO

from tui_trainer.store import atomic, paths

DIGEST_BYTES = hashlib.sha256().digest_size  # before the data
_SLICE = 1 << 20  # bytes that are read at once


def read(file: Path) -> bytes | None:
    """Return an entry's data and note its use; None where it is missing or damaged."""
    entry = open_entry(file)
    if entry is None:
        return None
    with entry:
        return entry.read()


def open_entry(file: Path) -> IO[bytes] | None:
    """Open an entry at its data and note its use; None where it is missing or damaged."""
    try:
        entry = file.open("rb")
    except OSError:
        return None
    try:
        expected, digest = entry.read(DIGEST_BYTES), hashlib.sha256()
        while data := entry.read(_SLICE):
            digest.update(data)
        whole = digest.digest() == expected
        entry.seek(DIGEST_BYTES)
    except OSError:
        whole = False
    if not whole:
        entry.close()
        return None
    with contextlib.suppress(OSError):  # the time of use matters only to `write`
        file.touch()
    return entry


def write(file: Path, data: Iterable[bytes], most_bytes: int, keep: Collection[Path] = ()) -> None:
    """Write an entry piece by piece, readable by the user alone, and delete others of the same
    suffix until all take at most `most_bytes`; this one and those in `keep` stay. Raises
    `OSError`."""
    paths.make_private_dir(file.parent)
    with atomic.replacing(file) as new:
        new.write(bytes(DIGEST_BYTES))
        digest = hashlib.sha256()
        for piece in data:
            digest.update(piece)
            new.write(piece)
        new.seek(0)
        new.write(digest.digest())
    _prune(file.parent, file.suffix, most_bytes, {file, *keep})


def _prune(folder: Path, suffix: str, most_bytes: int, keep: Collection[Path]) -> None:
    entries = []
    for file in folder.glob(f"*{suffix}"):
        with contextlib.suppress(OSError):  # deleted by another run
            facts = file.stat()
            entries.append((facts.st_mtime_ns, facts.st_size, file))
    total = sum(size for _, size, _ in entries)
    for _, size, file in sorted(entries):
        if total <= most_bytes:
            return
        if file not in keep:
            file.unlink(missing_ok=True)
            total -= size
