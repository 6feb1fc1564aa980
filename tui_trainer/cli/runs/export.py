"""`runs export`: writes every recorded row of a run, exactly."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from tui_trainer.cli.common import options, output
from tui_trainer.contracts.errors import UserError, reason_of
from tui_trainer.store import atomic
from tui_trainer.text import formats

if TYPE_CHECKING:
    from tui_trainer.cli.runs.export_rows import ExportRows

FORMATS = ("csv", "jsonl", "parquet")


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--format", "file_format", type=click.Choice(FORMATS), default=None, help="How rows "
              "are written.  [default: by the file's name, else csv]")  # fmt: skip
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric; may "
              "be repeated.")  # fmt: skip
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), metavar="FILE",
              help="Write a file instead of standard output.")  # fmt: skip
@options.runs_dir_option
@options.debug_option
@click.pass_context
def export(
    context: click.Context,
    run: str,
    file_format: str | None,
    metrics: tuple[str, ...],
    target: Path | None,
) -> None:
    """Write the metrics of a run as CSV, JSON lines or Parquet.

    Training rows and evaluations by step, all of them; rows that a resumed run replaced are left
    out. In CSV a missing value is empty and a non-finite one `nan`; JSON lines have null for a
    non-finite one and name the field in "nonfinite".

    \b
    Examples:
      tui-trainer runs export lighthouse > lighthouse.csv
      tui-trainer runs export lighthouse --metric loss --metric val_loss -o loss.jsonl
      tui-trainer runs export logs/events.out.tfevents.1 --format parquet -o rows.parquet
    """
    file_format = file_format or _form_of(target)
    if file_format == "parquet":
        _check_parquet(target)
    from tui_trainer.cli.runs.export_rows import rows_of
    from tui_trainer.watch.runs.resolve import find_location

    rows = rows_of(find_location(run, options.runs_dir(context)), metrics)
    if target is None:
        _write_stdout(rows, file_format)
    else:
        _write_file(rows, file_format, target.expanduser())
        count = formats.plural(len(rows), "row")
        output.message(f"{count} written to {formats.escape(str(target))}")


def _form_of(target: Path | None) -> str:
    suffix = target.suffix.removeprefix(".").lower() if target is not None else ""
    return {"ndjson": "jsonl", "pq": "parquet"}.get(suffix, suffix if suffix in FORMATS else "csv")


def _check_parquet(target: Path | None) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError(
            "Parquet needs pyarrow; install it with: pip install tui-trainer[parquet]", 1
        )
    if target is None and sys.stdout.isatty():
        raise UserError("Parquet is a binary format; write it to a file with -o FILE")


def _write_stdout(rows: ExportRows, file_format: str) -> None:
    if file_format == "parquet":
        sys.stdout.buffer.write(_parquet(rows))
        sys.stdout.buffer.flush()
        return
    shown = formats.escape_lines if sys.stdout.isatty() else str
    for text in _texts(rows, file_format):
        click.echo(shown(text), nl=False)
    output.flush()


def _write_file(rows: ExportRows, file_format: str, target: Path) -> None:
    """Write to a temporary file and rename it, so that the target is never half written. A link
    stays a link; a device or a pipe is written to, not replaced by a file."""
    if target.is_dir():
        raise UserError(f"{target} is a folder; give a file")
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as device:
                _write(rows, file_format, device)
        else:
            with atomic.replacing(Path(os.path.realpath(target)), durable=True) as file:
                _write(rows, file_format, file)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {reason_of(error)}", 1) from None


def _write(rows: ExportRows, file_format: str, file: IO[bytes]) -> None:
    if file_format == "parquet":
        file.write(_parquet(rows))
        return
    for text in _texts(rows, file_format):
        file.write(text.encode())


def _texts(rows: ExportRows, file_format: str) -> Iterator[str]:
    """The rows as text, in pieces of some thousand rows."""
    return _csv(rows) if file_format == "csv" else _jsonl(rows)


def _csv(rows: ExportRows) -> Iterator[str]:
    yield _lines([["kind", *rows.names]])
    for kinds, columns in rows.chunks():
        cells = [kinds, *([_cell(value) for value in column] for column in columns)]
        yield _lines(zip(*cells, strict=True))


def _lines(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _jsonl(rows: ExportRows) -> Iterator[str]:
    encoder = msgspec.json.Encoder()
    for kinds, columns in rows.chunks():
        records = []
        for kind, *values in zip(kinds, *columns, strict=True):
            record: dict[str, Any] = {"kind": kind}
            nonfinite = []
            for name, value in zip(rows.names, values, strict=True):
                if value is None:
                    continue
                if math.isfinite(value):
                    whole = value.is_integer() and abs(value) < 1e15
                    record[name] = int(value) if whole and name == "step" else value
                else:
                    record[name] = None
                    nonfinite.append(name)
            if nonfinite:
                record["nonfinite"] = nonfinite
            records.append(record)
        yield encoder.encode_lines(records).decode()


def _parquet(rows: ExportRows) -> bytes:
    import pyarrow as pa  # only where it is installed
    import pyarrow.parquet as pq

    kinds: list[str] = []
    columns: list[list[float | None]] = [[] for _ in rows.names]
    for some, parts in rows.chunks():
        kinds += some
        for column, part in zip(columns, parts, strict=True):
            column += part
    arrays = [pa.array(kinds), *(pa.array(column, pa.float64()) for column in columns)]
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, names=["kind", *rows.names]), sink)
    return sink.getvalue()
