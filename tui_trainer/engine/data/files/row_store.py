"""The rows of a part: in memory, or in a temporary file where their text is long.

The file has no name, so that nothing is left behind however the process ends.
"""

from __future__ import annotations

import os
import tempfile
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, overload

import msgspec
import numpy as np
import numpy.typing as npt

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.rows import Row
from tui_trainer.store import paths

# Characters of the rows that stay in memory; Python needs about 1 byte for each, and 200 to 600
# bytes for every row.
MOST_IN_MEMORY = 64_000_000
_CHARACTERS_OF_ROW = 400  # that the objects of a row are counted as
_BLOCK = 256 * 1024  # bytes that are read at once
Indices = npt.NDArray[np.int64]


class StoredRows(Sequence[Row]):
    """Rows that are read when they are asked for; compared and sliced as a list of them."""

    @abstractmethod
    def _at(self, index: int) -> Row:
        """Return a row by its number, from 0."""

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        numbers = range(len(self))[index]
        return self._at(numbers) if isinstance(numbers, int) else [self._at(at) for at in numbers]

    def __iter__(self) -> Iterator[Row]:
        return map(self._at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(one == another for one, another in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]  # as lists


class RowStore(StoredRows):
    """A sequence of rows that only grows."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows: list[Row] = []  # while they are in memory
        self._size = 0  # characters in memory
        self._file: IO[bytes] | None = None
        self._ends = array("q")  # of every row in the file, in bytes
        self._written = 0
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Row)
        self._block_start, self._block = 0, b""  # bytes that were read last
        for row in rows:
            self.append(row)

    def append(self, row: Row) -> None:
        """Add a row. Raises `UserError` where the temporary file cannot be written."""
        if self._file is None:
            self._rows.append(row)
            self._size += characters(row) + _CHARACTERS_OF_ROW
            if self._size > MOST_IN_MEMORY:
                self._move_to_file()
        else:
            self._write(row)

    def __len__(self) -> int:
        return len(self._ends) if self._file is not None else len(self._rows)

    def _at(self, index: int) -> Row:
        if self._file is None:
            return self._rows[index]
        start = self._ends[index - 1] if index else 0
        return self._decoder.decode(self._bytes(start, self._ends[index]))

    def _move_to_file(self) -> None:
        self._file = scratch_file()
        rows, self._rows = self._rows, []
        for row in rows:
            self._write(row)

    def _write(self, row: Row) -> None:
        assert self._file is not None  # noqa: S101  (opened by `_move_to_file`)
        try:
            self._written += self._file.write(self._encoder.encode(row))
        except OSError as error:
            raise UserError(
                "the data is larger than fits into memory, and its rows cannot be written to a "
                f"temporary file: {error}",
                1,
            ) from error
        self._ends.append(self._written)

    def _bytes(self, start: int, end: int) -> bytes:
        """Read from the file; more than is asked for where rows are read one after another."""
        block_end = self._block_start + len(self._block)
        if start < self._block_start or end > block_end:
            assert self._file is not None  # noqa: S101  (only then there are bytes)
            self._file.flush()
            follows = self._block_start <= start <= block_end
            size = max(_BLOCK, end - start) if follows else end - start
            self._block = os.pread(self._file.fileno(), size, start)
            self._block_start = start
        return self._block[start - self._block_start : end - self._block_start]


class SelectedRows(StoredRows):
    """Some rows of a store, in the given order; an index may occur several times."""

    def __init__(self, rows: Sequence[Row], indices: Indices) -> None:
        self._rows = rows
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def _at(self, index: int) -> Row:
        return self._rows[int(self._indices[index])]

    def select(self, indices: Indices) -> SelectedRows:
        """Return some of these rows."""
        return SelectedRows(self._rows, self._indices[indices])


def select(rows: Sequence[Row], indices: Iterable[int] | Indices) -> Sequence[Row]:
    """Return the rows at the indices, without a copy of them."""
    chosen = np.fromiter(indices, np.int64) if not isinstance(indices, np.ndarray) else indices
    return rows.select(chosen) if isinstance(rows, SelectedRows) else SelectedRows(rows, chosen)


def characters(row: Row) -> int:
    """Return the number of characters of a row."""
    return len(row.text or "") + sum(len(turn.content) for turn in row.messages)


def scratch_file() -> IO[Any]:
    """Open a temporary file without a name in the user's cache folder, or in the system's folder
    for temporary files where that cannot be written. Raises `UserError`."""
    try:
        paths.make_private_dir(paths.cache_dir())
        return tempfile.TemporaryFile(dir=paths.cache_dir(), buffering=1 << 20)
    except OSError:
        pass
    try:
        return tempfile.TemporaryFile(buffering=1 << 20)
    except OSError as error:
        raise UserError(
            "the data is larger than fits into memory, and no temporary file can be made in "
            f"{paths.cache_dir()} or {tempfile.gettempdir()}: {error}",
            1,
        ) from error
