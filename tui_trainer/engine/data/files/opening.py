"""Opening data files: compression and format are recognised by the content, not by the name."""

from __future__ import annotations

import contextlib
import gzip
import io
import shlex
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from tui_trainer.contracts.errors import UserError
from tui_trainer.store.data_sources import NEEDS_PYARROW

Format = Literal["json", "table", "parquet", "arrow"]

HEAD_BYTES = 64 * 1024
BOM = b"\xef\xbb\xbf"
_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_LFS = b"version https://git-lfs.github.com/spec/"
_WIDE = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_ENCRYPTED = 1  # a flag of a member of a zip archive
_TABLES = (".csv", ".tsv")
# What the decoders of compressed files raise for damaged ones.
DAMAGED = (EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError)


@dataclass(frozen=True)
class OpenedFile:
    """A data file, open at its first byte."""

    stream: io.BufferedReader  # of the decompressed content
    format: Format
    compressed: bool


@contextlib.contextmanager
def opened(file: Path, *, json_lines: bool = False) -> Iterator[OpenedFile]:
    """Open a data file and recognise its format; with `json_lines` it has JSON whatever its name.

    Raises `UserError` for a file that is no data file, and `OSError`.
    """
    with contextlib.ExitStack() as stack:
        raw: io.BufferedReader[Any] = io.BufferedReader(file.open("rb", buffering=0), HEAD_BYTES)
        stack.enter_context(raw)
        suffix, head = _inner_suffix(file.name), raw.peek(len(_LFS))[: len(_LFS)]
        stream: io.BufferedReader[Any] = raw
        compressed = True
        if head.startswith(_GZIP):
            unzipped: Any = stack.enter_context(gzip.GzipFile(fileobj=raw))
            stream = io.BufferedReader(unzipped, HEAD_BYTES)
        elif head.startswith(_ZSTD):
            stream = io.BufferedReader(stack.enter_context(_zstandard(file, raw)), HEAD_BYTES)
        elif head.startswith((_ZIP, _EMPTY_ZIP)):
            archive = stack.enter_context(zipfile.ZipFile(raw))
            member = _only_member(file, archive)
            suffix = _inner_suffix(member.filename)
            inside: Any = stack.enter_context(archive.open(member))
            stream = io.BufferedReader(inside, HEAD_BYTES)
        else:
            compressed = False
        head = _peek(stream)
        _refuse_others(file, head)
        yield OpenedFile(stream, _format(head, suffix, json_lines=json_lines), compressed)


def _inner_suffix(name: str) -> str:
    """Return the ending of a file's name without that of its compression."""
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in (".gz", ".zst") else path.suffix


def _peek(stream: io.BufferedReader) -> bytes:
    """Return the first bytes of a stream, which stay unread; as many as its buffer holds."""
    return stream.peek(HEAD_BYTES)[:HEAD_BYTES]


def _zstandard(file: Path, raw: IO[bytes]) -> Any:
    try:
        import pyarrow  # an optional extra: it is large
    except ImportError:
        raise UserError(f"{file.name}: reading Zstandard {NEEDS_PYARROW}") from None
    return pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd")


def _only_member(file: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the one data file in an archive. Nothing is unpacked to the disk."""
    found = []
    for member in archive.infolist():
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0:1]:
            raise UserError(
                f"{file.name} has a file whose path leaves the archive ({member.filename!r}): pack "
                "it again without that"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UserError(
                f"{file.name} has a symbolic link ({member.filename!r}): pack the file itself"
            )
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if not member.is_dir() and not hidden:
            found.append(member)
    if len(found) != 1:
        names = ", ".join(repr(member.filename) for member in found[:3])
        more = ", …" if len(found) > 3 else ""
        what = f"{len(found)} files ({names}{more})" if found else "no file"
        raise UserError(f"{file.name} has {what}; an archive needs exactly one data file")
    if found[0].flag_bits & _ENCRYPTED:
        raise UserError(f"{file.name} is encrypted: unpack it and name the file inside")
    return found[0]


def _refuse_others(file: Path, head: bytes) -> None:
    """Raise `UserError` for content that is known and cannot be read."""
    if head.startswith(_LFS):
        raise UserError(
            f"{file.name} is a Git LFS pointer, not the data: fetch it with git lfs pull"
        )
    if head.startswith((_GZIP, _ZSTD, _ZIP)):
        raise UserError(f"{file.name} is compressed twice: unpack it once")
    if head[257:262] == b"ustar":
        raise UserError(f"{file.name} is a tar archive: unpack it and name the files inside")
    encoding = next((name for mark, name in _WIDE if head.startswith(mark)), None)
    if encoding is None:
        encoding = _wide_without_mark(head)
    if encoding is not None:
        raise UserError(
            f"{file.name} is {encoding}, not UTF-8 (byte 0): {convert_command(file, encoding)}"
        )


def _wide_without_mark(head: bytes) -> str | None:
    """Return the encoding of text without a byte order mark whose every second byte is 0."""
    head = head[:256]
    even, odd = head[0::2], head[1::2]
    for zeros, others, name in ((odd, even, "UTF-16LE"), (even, odd, "UTF-16BE")):
        if len(zeros) >= 2 and not any(zeros) and all(others[: len(zeros)]):
            return name
    return None


def convert_command(file: Path, encoding: str) -> str:
    """Return what converts a file to UTF-8, as the end of a sentence."""
    target = file.with_name(f"utf8-{file.name}").name
    return (
        f"convert it with iconv -f {encoding} -t UTF-8 {shlex.quote(file.name)} > "
        f"{shlex.quote(target)}"
    )


def not_utf8(file: Path, byte: int, where: str = "") -> UserError:
    """Return the error for a file whose text has another encoding."""
    return UserError(
        f"{file.name}{where and f' {where}'} is not UTF-8 (byte 0x{byte:02X}), probably Latin-1: "
        f"{convert_command(file, 'WINDOWS-1252')}"
    )


def _format(head: bytes, suffix: str, *, json_lines: bool) -> Format:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    if json_lines or suffix not in (*_TABLES, ".parquet", ".arrow"):
        return "json"
    text = b"".join(head.removeprefix(BOM)[:1024].split())
    # A header could begin with a brace; then no quotation mark follows.
    is_json = text.startswith((b'{"', b"[{", b"{}", b"[]"))
    if suffix in _TABLES:
        return "json" if is_json else "table"
    return "json" if is_json else ("parquet" if suffix == ".parquet" else "arrow")
