"""Data files of all kinds give their rows; what cannot be read is named."""

from __future__ import annotations

import gzip
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.files import values as found_values
from tui_trainer.engine.data.files.data_files import (
    Unreadable,
    read_objects,
    read_objects_tolerantly,
)
from tui_trainer.engine.data.row_formats import read_rows

ROWS: list[dict[str, Any]] = [{"question": f"q{i} ü", "answer": f"a{i}"} for i in range(5)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
TABLE = "question,answer\n" + "".join(f"{r['question']},{r['answer']}\n" for r in ROWS)


def objects(file: Path) -> list[Any]:
    return [value for _, _, value in read_objects(file)]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def refusal(file: Path) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(UserError) as caught:
        list(read_objects(file))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t.ndjson", "t.csv"])
@pytest.mark.parametrize(
    "content",
    [
        LINES,
        "\n \r\n" + LINES.replace("\n", "\r\n\r\n"),
        LINES.rstrip(),
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        json.dumps({"data": ROWS}),
        json.dumps({"version": 1, "rows": ROWS, "tags": ["x"]}, indent=2),
    ],
    ids=["lines", "blank lines", "no end", "list", "long list", "objects", "object", "long object"],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "mark"])
def test_json_is_read_by_its_content(tmp_path: Path, name: str, content: str, mark: str) -> None:
    assert objects(written(tmp_path, name, mark + content)) == ROWS


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "mark"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", "])
def test_tables_with_other_delimiters(tmp_path: Path, separator: str, mark: str) -> None:
    cells = [("question", "answer"), ("what, is; it|here\t?", 'a "word"'), ("two\nlines", "b")]
    quoted = [[f'"{c.replace(chr(34), chr(34) * 2)}"' for c in row] for row in cells]
    text = mark + "".join(separator.join(row) + "\r\n" for row in quoted)
    for name in ("t.csv", "t.tsv"):
        rows = objects(written(tmp_path, name, text))
        assert rows == [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]


def test_blanks_are_part_of_a_cell_unless_the_header_has_them(tmp_path: Path) -> None:
    file = written(tmp_path, "t.csv", "question,answer\n a, b\n")
    assert objects(file) == [{"question": " a", "answer": " b"}]


@pytest.mark.parametrize("content", [LINES, json.dumps(ROWS, indent=1)], ids=["lines", "list"])
def test_compressed_files(tmp_path: Path, content: str) -> None:
    assert objects(written(tmp_path, "t.jsonl.gz", gzip.compress(content.encode()))) == ROWS
    assert objects(written(tmp_path, "t.jsonl", gzip.compress(content.encode()))) == ROWS
    with zipfile.ZipFile(tmp_path / "t.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("inside")
        archive.writestr("__MACOSX/._t.json", b"junk")
        archive.writestr("inside/t.json", content)
    assert objects(tmp_path / "t.zip") == ROWS
    arrow = pytest.importorskip("pyarrow")
    with arrow.CompressedOutputStream(str(tmp_path / "t.jsonl.zst"), "zstd") as stream:
        stream.write(content.encode())
    assert objects(tmp_path / "t.jsonl.zst") == ROWS


def test_a_table_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.csv", TABLE)
    assert objects(tmp_path / "t.zip") == ROWS
    assert objects(written(tmp_path, "t.csv.gz", gzip.compress(TABLE.encode()))) == ROWS


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_arrow_files_and_streams(tmp_path: Path, kind: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    ipc = pytest.importorskip("pyarrow.ipc")
    table = arrow.Table.from_pylist(ROWS)
    open_writer = ipc.new_file if kind == "file" else ipc.new_stream
    with open_writer(str(tmp_path / "t.arrow"), table.schema) as writer:
        writer.write_table(table)
    assert objects(tmp_path / "t.arrow") == ROWS


def test_numbers_that_are_not_finite_are_accepted(tmp_path: Path) -> None:
    text = '{"text": "a", "score": NaN}\n{"text": "b", "score": -Infinity}\n'
    for content in (text, f"[{text.replace(chr(10), ',', 1)}]"):
        rows = read_rows([written(tmp_path, "t.json", content)])
        assert [row.text for row in rows.found] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", found_values.NOT_JSON),
        (b'{"text": "a"} {"text": "b"}', found_values.NOT_JSON),
        (b'{"text": "\\ud800", "x": NaN}', found_values.NOT_JSON),
        (b"[1, 2]", found_values.NOT_OBJECT),
        (b'{"text": "a\0b"}', found_values.NUL),
        (b"\0" * 40, found_values.NUL),
        (b'{"text": "\xff"}', found_values.NOT_UTF8),
    ],
)
def test_a_line_that_cannot_be_read_is_left_out_and_counted(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    good = '{"text": "ü"}\n'.encode()
    for at, content in ((2, good + line + b"\n" + good), (1, line + b"\n" + good + good)):
        if reason == found_values.NOT_UTF8 and at == 1:
            continue  # probably the whole file has another encoding
        if line.startswith(b"[") and at == 1:
            continue  # a list
        rows = read_rows([written(tmp_path, "t.jsonl", content)])
        assert len(rows.found) == 2
        (item,) = rows.left_out
        assert (item.reason, item.rows) == (reason, 1)
        assert item.where[0].startswith(f"t.jsonl line {at}")


def test_a_torn_last_line_is_named(tmp_path: Path) -> None:
    torn = (LINES + '{"question": "q ü'.encode().decode()).encode()
    for content in (torn, torn[:-1]):
        rows = read_rows([written(tmp_path, "t.jsonl", content)])
        assert [item.reason for item in rows.left_out] == [found_values.TORN]
        assert len(rows.found) == 5


def test_a_line_that_is_too_long_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.engine.data.files.json_values.LONGEST", 100)
    long = json.dumps({"text": "x" * 300}) + "\n"
    file = written(tmp_path, "t.jsonl", '{"text": "a"}\n' + long + '{"text": "b"}\n')
    assert objects(file) == [{"text": "a"}, Unreadable(found_values.TOO_LONG), {"text": "b"}]
    file = written(tmp_path, "t.jsonl", long + '{"text": "b"}\n')
    assert objects(file) == [Unreadable(found_values.TOO_LONG), {"text": "b"}]


def test_bad_lines_of_a_table(tmp_path: Path) -> None:
    content = 'question,answer\nü,a\n"a "b" c",x\nnul\0,b\nq,a\n'.encode() + b"q\xe4,a\nq,c\n"
    rows = read_rows([written(tmp_path, "t.csv", content)])
    assert len(rows.found) == 3
    assert {item.reason: item.where[0][:12] for item in rows.left_out} == {
        found_values.BAD_QUOTES: "t.csv line 3",
        found_values.NUL: "t.csv line 4",
        found_values.NOT_UTF8: "t.csv line 6",
    }


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.jsonl", "a\nb\n", "t.jsonl has no row that can be read; line 1: not valid JSON: "),
        ("t.json", '[{"a": 1}, {"a": ', "not valid JSON from row 2 on"),
        ("t.json", '[{"a": 1} {"a": 1}]', "the list lacks a comma after row 1"),
        ("t.json", '[{"a": 1}', "the list is cut off after row 1"),
        ("t.json", '[{"a": 1}] [2]', "more after the end of its list"),
        ("t.json", '{"train": [{"a": 1}], "test": [{"a": 2}]}', "'train', 'test'"),
        ("t.csv", "a,b,a\n1,2,3\n", "t.csv line 1 names the column 'a' twice"),
        ("t.csv", "1,2\n3,4\n", "t.csv line 1 is no header ('1'): the first line must name"),
        ("t.csv", 'text,b\na,b\n"c,d\ne,f\n', "line 3 opens a quotation mark that is never closed"),
        ("t.jsonl", LINES.encode("utf-16"), "UTF-16, not UTF-8 (byte 0): convert it with iconv"),
        ("t.jsonl", LINES.encode("utf-16-le"), "-f UTF-16LE -t UTF-8 t.jsonl > utf8-t.jsonl"),
        ("t.csv", TABLE.encode("utf-16-be"), "UTF-16BE"),
        ("t.csv", TABLE.encode("utf-32"), "UTF-32"),
        ("t.csv", TABLE.encode("latin-1"), "t.csv line 2 is not UTF-8 (byte 0xFC), probably Lat"),
        (
            "t.jsonl",
            '{"text": "a"}\n{"text": "ä"}\n'.encode("cp1252"),
            "t.jsonl line 2 is not UTF-8 (byte 0xE4), probably Latin-1: convert it with iconv -f "
            "WINDOWS-1252 -t UTF-8 t.jsonl > utf8-t.jsonl",
        ),
        ("t.json", '[\n{"text": "ä"}]'.encode("latin-1"), "t.json is not UTF-8 (byte 0xE4)"),
        (
            "t.jsonl",
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "t.jsonl is a Git LFS pointer, not the data: fetch it with git lfs pull",
        ),
        ("t.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-9], "is damaged or not complete"),
        (
            "t.gz",
            gzip.compress(gzip.compress(LINES.encode(), mtime=0), mtime=0),
            "t.gz is compressed twice",
        ),
        ("t.zip", b"PK\x03\x04 no archive", "is damaged or not complete"),
    ],
)
def test_files_that_are_refused(
    tmp_path: Path, name: str, content: str | bytes, sentence: str
) -> None:
    assert sentence in refusal(written(tmp_path, name, content))


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({}, "t.zip has no file; an archive needs exactly one data file"),
        ({"a.csv": 0, "b.csv": 0}, "t.zip has 2 files ('a.csv', 'b.csv')"),
        ({"../a.csv": 0}, "path leaves the archive ('../a.csv')"),
        ({"/a.csv": 0}, "path leaves the archive"),
        ({"a.csv": stat.S_IFLNK}, "symbolic link ('a.csv')"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, members: dict[str, int], sentence: str) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        for name, mode in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = (mode | 0o644) << 16
            archive.writestr(member, TABLE)
    assert sentence in refusal(tmp_path / "t.zip")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"conversations": [{"from": "human", "value": "q"}]},
        {"question": "q", "answer": "a", "answers": [{"text": "b"}]},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_of_one_row(tmp_path: Path, row: dict[str, Any], indent: int | None) -> None:
    assert objects(written(tmp_path, "t.json", json.dumps(row, indent=indent))) == [row]


def test_lists_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_trainer.engine.data.files.json_values._SLICE", 3)
    rows = [{"text": 'ü"\\}]', "numbers": [1.5, -20, True, None], "at": i} for i in range(20)]
    for indent in (None, 1):
        file = written(tmp_path, "t.json", json.dumps(rows, indent=indent, ensure_ascii=False))
        assert objects(file) == rows


PIECES = [
    *(b'{"text": "a"}', b'{"text":', b"[", b"]", b"{", b"}", b",", b"\n", b'"', b"\0", b"a;b"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"NaN", b"1e999", b"text,label", b"\r", b"\xe4", b"|"),
    *(b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff", b"PK\x03\x04", b"\x1f\x8b\x08", b"\\ud8"),
]
CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(str.encode),
    st.lists(
        st.sampled_from(PIECES),
        max_size=12,
    ).map(b"".join),
    st.text(max_size=60).map(lambda text: gzip.compress(text.encode(), mtime=0)[: 10 + len(text)]),
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=CONTENTS, name=st.sampled_from(["t.jsonl", "t.json", "t.csv", "t.parquet", "t.zip"]))
def test_any_bytes_give_rows_or_one_sentence(tmp_path: Path, content: bytes, name: str) -> None:
    file = written(tmp_path, name, content)
    readers: tuple[Callable[[Path], Any], ...] = (read_objects, read_objects_tolerantly)
    for read in readers:
        try:
            for unit, number, value in read(file):
                assert unit in ("line", "row") and number >= 1
                assert read is not read_objects or isinstance(value, dict | Unreadable)
        except UserError as error:
            assert "\n" not in str(error)
    try:
        rows = read_rows([file])
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert rows.found
