"""Reading JSON lines from whole files, from their end, and as they grow."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from tui_trainer.store import jsonl


class Point(msgspec.Struct):
    x: int


def test_bad_lines_are_counted_and_named_and_blank_and_torn_ones_skipped(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"x": 1}\n\n  \r\n{"x": "no"}\n\xff\n{"x": 2}\n{"x": ')
    read = jsonl.read_records(file, Point)
    assert [point.x for point in read.records] == [1, 2]
    assert read.bad_count == 2
    assert [bad.number for bad in read.bad] == [4, 5]
    assert "Expected `int`" in read.bad[0].reason
    assert "\n" not in read.bad[1].reason


def test_a_byte_order_mark_before_the_first_record_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"x": 1}\n{"x": 2}\n')
    read = jsonl.read_records(file, Point)
    assert [point.x for point in read.records] == [1, 2] and not read.bad_count


def test_a_last_line_without_a_line_feed_counts_where_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"x": 1}\n{"x": 2}')
    assert [point.x for point in jsonl.read_records(file, Point).records] == [1, 2]
    assert [point.x for point in jsonl.read_records(file, Point, last=False).records] == [1]


def test_each_record_of_a_growing_file_comes_once_when_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    reader: jsonl.RecordReader[Point] = jsonl.RecordReader(file, Point)
    with pytest.raises(FileNotFoundError):
        reader.new()
    file.write_bytes(b'{"x": 1}\n{"x"')
    assert [point.x for point in reader.new()] == [1]
    assert reader.offset == len(b'{"x": 1}\n')
    with file.open("ab") as stream:
        stream.write(b': 2}\nno\n{"x": 3}\n')
    assert [point.x for point in reader.new()] == [2, 3]
    assert reader.new() == []
    assert (reader.bad_count, reader.bad[0].number) == (1, 3)
    later: jsonl.RecordReader[Point] = jsonl.RecordReader(file, Point, len(b'{"x": 1}\n'))
    assert [point.x for point in later.new()] == [2, 3]


def test_a_line_that_is_too_long_is_named_once_and_the_next_counts(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"x" * 5_000_000)
    reader: jsonl.RecordReader[Point] = jsonl.RecordReader(file, Point, longest=2048)
    assert reader.new() == []
    with file.open("ab") as stream:
        stream.write(b"x\n" + b"y" * 3000 + b'\n{"x": 1}\n')
    assert [point.x for point in reader.new()] == [1]
    assert [(bad.number, bad.reason) for bad in reader.bad] == [
        (1, "longer than 2.0 KiB"),
        (2, "longer than 2.0 KiB"),
    ]


def test_a_line_over_several_slices_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    long = "z" * (2 * jsonl._SLICE + 17)
    file.write_bytes(msgspec.json.encode(long) + b'\n"short"\n')
    assert jsonl.read_records(file, str).records == [long, "short"]


@pytest.mark.parametrize("tail", [9, 10, 17, 18, 19, 27, 1000])
def test_the_newest_records_come_first_and_none_is_half_read(tmp_path: Path, tail: int) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"x": 1}\n{"x": 2}\n{"x": 3}\n')
    found = [point.x for point in jsonl.newest_records(file, Point, tail)]
    assert found == [3, 2, 1][: min(3, tail // 9)]


def test_a_pipe_is_refused_and_waited_for_never(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    os.mkfifo(file)
    with pytest.raises(OSError, match="not a regular file"):
        jsonl.read_records(file, Point)
    with pytest.raises(OSError, match="not a regular file"):
        jsonl.RecordReader(file, Point).new()
    with pytest.raises(OSError, match="not a regular file"):
        next(jsonl.newest_records(file, Point))
