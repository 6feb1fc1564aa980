"""Entries of a cache: sealed, private, and the least recently used deleted first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tui_trainer.store import sealed_cache


def test_an_entry_is_read_as_written_and_a_damaged_one_counts_as_missing(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "a.tokens"
    assert sealed_cache.read(file) is None
    sealed_cache.write(file, [b"con", b"tent"], 1000)
    assert sealed_cache.read(file) == b"content"
    assert file.stat().st_mode & 0o777 == 0o600
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:5], b"", b"x" + whole[1:]):
        file.write_bytes(damaged)
        assert sealed_cache.read(file) is None


def test_the_folder_is_bounded_and_the_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    for age, name in enumerate("cab"):
        file = tmp_path / f"{name}.tokens"
        file.write_bytes(b"x" * 100)
        os.utime(file, (1000 + age, 1000 + age))
    (tmp_path / "somebody.else").write_bytes(b"x" * 1000)
    sealed_cache.write(tmp_path / "d.tokens", [b"x" * 18], 250)  # 50 bytes with its digest
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "a.tokens",
        "b.tokens",
        "d.tokens",
        "somebody.else",
    ]


def test_a_read_entry_is_the_most_recently_used(tmp_path: Path) -> None:
    for name in ("old", "new"):
        sealed_cache.write(tmp_path / f"{name}.tokens", [b"x" * 18], 1000)
    for age, name in enumerate(("old", "new")):
        os.utime(tmp_path / f"{name}.tokens", (1000 + age, 1000 + age))
    assert sealed_cache.read(tmp_path / "old.tokens") is not None
    sealed_cache.write(tmp_path / "third.tokens", [b"x" * 18], 100)
    assert sorted(f.stem for f in tmp_path.iterdir()) == ["old", "third"]


def test_the_entries_of_this_process_stay_although_they_are_too_large(tmp_path: Path) -> None:
    for name in ("old", "own", "new"):
        keep = [tmp_path / "own.tokens"] if name == "new" else []
        sealed_cache.write(tmp_path / f"{name}.tokens", [b"x" * 18], 10, keep)
    assert sorted(f.stem for f in tmp_path.iterdir()) == ["new", "own"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        sealed_cache.write(tmp_path / "a.tokens", pieces(), 100)
    assert list(tmp_path.iterdir()) == []
