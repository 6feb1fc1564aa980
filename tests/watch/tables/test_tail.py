"""Whole lines, each once, whatever happens to the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.watch.tables import tail
from tui_trainer.watch.tables.tail import Chunk, Tail


def everything(reader: Tail, limit: int = tail.SLICE) -> bytes:
    found = b""
    while True:
        chunk = reader.poll(limit)
        found += chunk.data
        if not chunk.more:
            return found


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_an_absent_file_gives_nothing_until_it_is_there(tmp_path: Path) -> None:
    reader = Tail(tmp_path / "not" / "here.jsonl")
    assert reader.poll() == Chunk()
    reader.path.parent.mkdir()
    append(reader.path, b"a\n")
    assert reader.poll() == Chunk(b"a\n")


def test_a_torn_last_line_waits_for_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "f"
    append(path, b"one\ntw")
    reader = Tail(path)
    assert reader.poll() == Chunk(b"one\n")
    assert reader.pending == b"tw"
    append(path, b"o\nthree")
    assert reader.poll() == Chunk(b"two\n")
    assert reader.take_last() == b"three\n"
    assert reader.take_last() == b""


def test_an_unchanged_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    append(path, b"one\n")
    reader = Tail(path)
    reader.poll()
    monkeypatch.setattr(Path, "open", lambda *_, **__: pytest.fail("opened"))
    assert reader.poll() == Chunk()


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("content", [b"", b"x\n", b"other\n" * 50, b"first\nnew second\n" * 40])
def test_another_file_is_read_from_its_start(
    tmp_path: Path, in_place: bool, content: bytes
) -> None:
    path = tmp_path / "f"
    append(path, b"first\nsecond\n" * 20 + b"torn")
    reader = Tail(path)
    everything(reader)
    if in_place:
        path.write_bytes(content)
    else:
        (tmp_path / "g").write_bytes(content)
        (tmp_path / "g").replace(path)
    chunk = reader.poll()
    assert chunk.restarted
    assert chunk.data == content
    assert reader.pending == b""


def test_a_copy_that_went_on_is_no_other_file(tmp_path: Path) -> None:
    """rsync replaces the file by a longer copy of itself: nothing is read twice."""
    path = tmp_path / "f"
    append(path, b"line\n" * 2000)
    reader = Tail(path)
    everything(reader)
    (tmp_path / "g").write_bytes(path.read_bytes() + b"new\n")
    (tmp_path / "g").replace(path)
    assert reader.poll() == Chunk(b"new\n")


def test_the_same_size_and_another_content(tmp_path: Path) -> None:
    path = tmp_path / "f"
    append(path, b"aaaa\n")
    reader = Tail(path)
    reader.poll()
    path.write_bytes(b"bbbb\n")
    os.utime(path, ns=(1, 1))
    assert reader.poll() == Chunk(b"bbbb\n", restarted=True)


def test_a_vanished_file_leaves_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    append(path, b"one\n")
    reader = Tail(path)
    reader.poll()
    path.unlink()
    assert reader.poll() == Chunk()
    append(path, b"one\ntwo\n")
    assert reader.poll() == Chunk(b"two\n")


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="not a"):
            Tail(path).poll()


def test_a_huge_line_is_skipped_and_the_next_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "LONGEST_LINE", 1000)
    path = tmp_path / "f"
    append(path, b"before\n" + b"x" * 5000 + b"\nafter\n")
    reader = Tail(path)
    data, skipped, more = b"", 0, True
    while more:
        chunk = reader.poll(300)
        data, skipped, more = data + chunk.data, skipped + chunk.skipped, chunk.more
        assert len(reader.pending) <= 1300
    assert (data, skipped) == (b"before\nafter\n", 1)


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=30), max_size=12),
    st.integers(1, 50),
)
def test_any_pieces_in_any_slices_give_the_whole(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], limit: int
) -> None:
    path = tmp_path_factory.mktemp("tail") / "f"
    reader, found = Tail(path), b""
    for piece in pieces:
        append(path, piece)
        found += everything(reader, limit)
    whole = b"".join(pieces)
    assert found == whole[: whole.rfind(b"\n") + 1]
    assert reader.pending == whole[whole.rfind(b"\n") + 1 :]
