"""Parquet and Arrow files as objects, one per row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.files.opening import Format
from tui_trainer.engine.data.files.values import Values
from tui_trainer.store.data_sources import NEEDS_PYARROW
from tui_trainer.text.formats import one_line

_NAMES = {"parquet": "Parquet", "arrow": "Arrow"}
_BATCH = 1024  # rows converted at once
_SHOWN = 200  # characters of an error of pyarrow


def read_columnar(file: Path, kind: Format, *, compressed: bool) -> Values:
    """Yield the rows of a file. Raises `UserError`."""
    try:
        import pyarrow  # an optional extra: it is large
        import pyarrow.parquet
    except ImportError:
        raise UserError(f"{file.name}: reading {_NAMES[kind]} {NEEDS_PYARROW}") from None
    if compressed:
        raise UserError(f"{file.name} is {_NAMES[kind]} in a compressed file: unpack it first")
    number = 0
    batches = _parquet(file) if kind == "parquet" else _arrow(file)
    try:
        for batch in batches:
            for start in range(0, batch.num_rows, _BATCH):
                for row in batch.slice(start, _BATCH).to_pylist():
                    number += 1
                    yield "row", number, row
    except (pyarrow.ArrowException, ValueError, OverflowError, TypeError, KeyError) as error:
        first = one_line(str(error).strip().partition("\n")[0], _SHOWN)
        raise UserError(f"{file} cannot be read as {_NAMES[kind]}: {first}") from error


def _parquet(file: Path) -> Iterator[Any]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as table:
        yield from table.iter_batches(batch_size=_BATCH)


def _arrow(file: Path) -> Iterator[Any]:
    """Yield the batches of a file, or of a stream as `datasets` writes it."""
    import pyarrow.ipc

    with pyarrow.memory_map(str(file)) as source:
        if source.read(6) == b"ARROW1":
            table = pyarrow.ipc.open_file(source)
            yield from (table.get_batch(index) for index in range(table.num_record_batches))
        else:
            source.seek(0)
            yield from pyarrow.ipc.open_stream(source)
