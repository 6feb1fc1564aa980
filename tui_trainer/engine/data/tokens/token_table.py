"""The tokens of a whole part: in memory, or in a file where they are many."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec
import numpy as np

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.files.row_store import scratch_file
from tui_trainer.engine.data.tokens.token_arrays import Coded, Integers, PackedTokens

MOST_IN_MEMORY = 64 << 20  # bytes of coded tokens; more are in a file
_WIDTH = 4  # bytes of a coded token
_SLICE = 1 << 20  # bytes that are copied at once
_FOOTER = 3  # numbers at the end of an entry: tokens, examples, bytes of the rest
_Others = tuple[int, int, list[tuple[int, str]], list[int]]


class CodedFile:
    """Coded tokens in a file, from a position on."""

    def __init__(self, file: IO[bytes], start: int = 0) -> None:
        self._file = file  # open as long as this object lives
        self._start = start

    def read(self, first: int, last: int) -> Coded:
        """Return the tokens from number `first` to `last`, without the last. Raises `OSError`."""
        size = (last - first) * _WIDTH
        data = os.pread(self._file.fileno(), size, self._start + first * _WIDTH)
        if len(data) != size:
            raise OSError(f"the file of tokens ended after {len(data)} of {size} bytes")
        return np.frombuffer(data, dtype=np.int32)


@dataclass(frozen=True)
class TokenTable:
    """The examples of a part; what is counted is as in `Tokens`."""

    coded: Coded | CodedFile
    bounds: Integers  # (examples + 1,) where each begins in `coded`, and the end
    learned: Integers  # (examples,) predictions of each that count in the loss
    rows: Integers  # (examples,) the row of each
    total: int
    longer: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)
    without_tools: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def in_memory(self) -> bool:
        """Whether no file is needed any more."""
        return not isinstance(self.coded, CodedFile)

    def coded_of(self, example: int) -> Coded:
        """Return the coded tokens of one example."""
        return self._slice(int(self.bounds[example]), int(self.bounds[example + 1]))

    def _slice(self, first: int, last: int) -> Coded:
        if isinstance(self.coded, CodedFile):
            return self.coded.read(first, last)
        return self.coded[first:last]

    def chunks(self) -> Iterator[bytes]:
        """Yield the content of a file that `read_table` reads, piece by piece."""
        count = int(self.bounds[-1])
        for first in range(0, count, _SLICE // _WIDTH):
            yield self._slice(first, min(count, first + _SLICE // _WIDTH)).tobytes()
        for array in (self.bounds, self.learned, self.rows):
            yield array.tobytes()
        others: _Others = (self.total, self.longer, self.refused, self.without_tools)
        rest = msgspec.json.encode(others)
        yield rest
        yield np.array([count, len(self.rows), len(rest)], dtype=np.int64).tobytes()


def build(parts: Iterable[PackedTokens]) -> TokenTable:
    """Return the tokens of consecutive rows as one. Raises `UserError` where they are many and no
    file can be written."""
    coded: list[Coded] = []
    size = 0
    file: IO[Any] | None = None
    lengths: list[Integers] = []
    learned: list[Integers] = []
    rows: list[Integers] = []
    refused: list[tuple[int, str]] = []
    without: list[int] = []
    total = longer = 0
    for part in parts:
        size += part.coded.nbytes
        coded.append(part.coded)
        if size > MOST_IN_MEMORY:
            file = scratch_file() if file is None else file
            _append(file, coded)
            coded = []
        lengths.append(part.lengths)
        learned.append(part.learned)
        rows.append(total + part.rows)
        refused += [(total + row, reason) for row, reason in part.refused]
        without += [total + row for row in part.without_tools]
        total += part.total
        longer += part.longer
    if file is not None:
        _flush(file)
    return TokenTable(
        np.concatenate([np.zeros(0, np.int32), *coded]) if file is None else CodedFile(file),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(_joined(lengths))]),
        _joined(learned),
        _joined(rows),
        total,
        longer,
        refused,
        without,
    )


def read_table(file: IO[bytes], start: int, size: int) -> TokenTable:
    """Read what `TokenTable.chunks` wrote, `size` bytes from `start` on. The file stays open where
    its tokens are many. Raises `ValueError` for other content."""
    descriptor = file.fileno()
    if size < _FOOTER * 8:
        raise ValueError("too short")
    footer = os.pread(descriptor, _FOOTER * 8, start + size - _FOOTER * 8)
    count, examples, rest = np.frombuffer(footer, dtype=np.int64).tolist()
    sizes = [examples * 8 + 8, examples * 8, examples * 8, rest]
    position = count * _WIDTH
    if min(count, examples, rest) < 0 or position + sum(sizes) + len(footer) != size:
        raise ValueError("of another size")
    found = []
    for part in sizes:
        found.append(os.pread(descriptor, part, start + position))
        position += part
    bounds, learned, rows = (np.frombuffer(data, dtype=np.int64) for data in found[:3])
    total, longer, refused, without = msgspec.json.decode(found[3], type=_Others)
    tokens = CodedFile(file, start)
    coded: Coded | CodedFile = tokens
    if count * _WIDTH <= MOST_IN_MEMORY:
        coded = tokens.read(0, count)
        file.close()
    return TokenTable(coded, bounds, learned, rows, total, longer, refused, without)


def _joined(parts: list[Integers]) -> Integers:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _append(file: IO[bytes], parts: list[Coded]) -> None:
    try:
        for part in parts:
            file.write(part.tobytes())
    except OSError as error:
        raise _full(error) from error


def _flush(file: IO[bytes]) -> None:
    try:
        file.flush()
    except OSError as error:
        raise _full(error) from error


def _full(error: OSError) -> UserError:
    return UserError(
        "the tokens of the data are more than fit into memory, and cannot be written to a "
        f"temporary file: {error}",
        1,
    )
