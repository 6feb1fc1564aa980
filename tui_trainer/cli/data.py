"""`data`: a look at data before training: counts, lengths, and rows as the model sees them."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from tui_trainer.cli.common import options, output
from tui_trainer.cli.train import EXAMPLE, load
from tui_trainer.contracts.data_inspection import (
    DataInspection,
    InspectedRow,
    InspectionRequest,
    TextPiece,
)
from tui_trainer.contracts.job import Job, Task
from tui_trainer.launch import inspection_text
from tui_trainer.launch.inspect_data import Inspection
from tui_trainer.store import jobs
from tui_trainer.store.toml import reading
from tui_trainer.text import formats

_BAR = 44  # cells
_MOST_CLASSES = 20  # that are listed
_MOST_TOKENS = 400  # of a row's text, unless the row was asked for
_PLAIN_SECONDS = 5.0  # between lines of progress that cannot be rewritten


@click.command()
@click.argument("source", metavar="FILE|JOB.toml")
@click.option(
    "--model", metavar="M", help="Base whose tokenizer is used: a folder or a Hugging Face id."
)
@click.option(
    "--max-length",
    type=click.IntRange(min=8),
    metavar="N",
    help="Most tokens per example.  [default: that of the job, or 512]",
)
@click.option(
    "--rows", type=click.IntRange(0, 200), default=3, show_default=True, metavar="N",
    help="How many rows to show: the first, the longest, and random ones.",
)  # fmt: skip
@click.option(
    "--row", type=click.IntRange(min=1), metavar="N", help="Show the row in line N of its file."
)
@click.option(
    "--task",
    type=click.Choice(get_args(Task)),
    help="Of a FILE.  [default: from the fields of its first row]",
)
@options.set_option
@options.json_option("Print one JSON document.")
@options.debug_option
def data(
    source: str,
    model: str | None,
    max_length: int | None,
    rows: int,
    row: int | None,
    task: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Look at the data of a job, or at a data file, before training.

    Shows how many rows are used, what is left out and why, how long the examples are, and single
    rows as the model sees them, with the tokens that it learns marked. Nothing is trained, and of
    the base only the tokenizer is loaded. With 'example', the data of the example.

    \b
    Examples:
      tui-trainer data train.jsonl
      tui-trainer data job.toml --max-length 1024 --rows 10
      tui-trainer data train.jsonl --model Qwen/Qwen2.5-0.5B --row 12
    """
    if row is not None and click.get_current_context().get_parameter_source("rows") == (
        click.core.ParameterSource.COMMANDLINE
    ):
        raise click.UsageError("--rows and --row exclude each other")
    job, of_file = _job(source, overrides)
    job = _changed(job, model, max_length, task)
    request = InspectionRequest(
        job=job,
        rows=rows,
        row=row,
        find_task=of_file and task is None and not _sets_task(overrides),
    )
    progress = _Progress()
    try:
        found = Inspection(request).run(progress.show)
    finally:
        progress.clear()
    if as_json:
        output.document(found)
        return 0
    for block in _blocks(found, _has_colour()):
        output.data(block)
    return 0


def _job(source: str, overrides: tuple[str, ...]) -> tuple[Job, bool]:
    """The job to look at, and whether it was made for a data file."""
    if source == EXAMPLE or Path(source).suffix.lower() == ".toml":
        return load(source, overrides), False
    values: dict[str, Any] = {"data": {"train": source}}
    where = reading.ValueSource("tui-trainer data")
    for assignment in overrides:
        reading.apply_override(values, assignment, where)
    return jobs.check_job(values, Path.cwd(), where), True


def _changed(job: Job, model: str | None, max_length: int | None, task: str | None) -> Job:
    changes: dict[str, Any] = {}
    if model is not None:
        changes["model"] = jobs.resolve_model(model, Path.cwd(), "--model")
    if max_length is not None:
        changes["data"] = msgspec.structs.replace(job.data, max_length=max_length)
    if task is not None:
        changes["task"] = task
    return msgspec.structs.replace(job, **changes)


def _sets_task(overrides: tuple[str, ...]) -> bool:
    return any(assignment.partition("=")[0].strip() == "task" for assignment in overrides)


class _Progress:
    """What the process does, in one line of standard error that is updated in place where it is a
    terminal; elsewhere a line every few seconds."""

    def __init__(self) -> None:
        self._live = output.can_rewrite_line()
        self._shown = False
        self._next = time.monotonic() + _PLAIN_SECONDS

    def show(self, message: str) -> None:
        """Show a message."""
        text = formats.escape(message)
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{text[:width]}", err=True, nl=False)
            self._shown = True
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _PLAIN_SECONDS
            output.message(text)

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._shown = False


def _has_colour() -> bool:
    """Whether learned tokens can be shown in colour."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM", "") == "dumb":
        return False
    return sys.stdout is not None and sys.stdout.isatty()


def _blocks(found: DataInspection, colour: bool) -> list[str]:
    """The whole text, in blocks of lines."""
    blocks = [output.pairs(inspection_text.facts(found))]
    notices = inspection_text.notices(found)
    if notices:
        lines = "\n".join(f"  {formats.escape(text)}" for text in notices)
        blocks.append(f"\nleft out, changed, or worth a look\n{lines}")
    if found.report.labels:
        blocks.append(f"\n{_classes(found)}")
    blocks.append(f"\n{histogram(found)}")
    for row in found.rows:
        blocks.append(f"\n{row_text(row, colour)}")
    if found.rows and found.task != "classification":
        blocks.append(f"\n{_legend(colour)}")
    return blocks


def _classes(found: DataInspection) -> str:
    labels = found.report.labels
    largest = sorted(labels, key=lambda label: -label.train)[:_MOST_CLASSES]
    rows = [(one.label, formats.count(one.train), formats.count(one.validation)) for one in largest]
    text = output.table(("class", "training", "validation"), rows)
    more = len(labels) - len(largest)
    return (
        f"{text}\nand {formats.plural(more, 'smaller class', 'smaller classes')}" if more else text
    )


def histogram(found: DataInspection) -> str:
    """The lengths of the training examples as horizontal bars; the part beyond the limit has
    another sign."""
    full, beyond = ("█", "░") if _encodable("█░–") else ("#", ":")
    most = max((one.examples for one in found.lengths), default=1)
    names = [inspection_text.range_of(one) for one in found.lengths]
    counts = [formats.count(one.examples) for one in found.lengths]
    wide, wide_count = max(map(len, names)), max(map(len, counts))
    lines = ["tokens per training example, before cutting"]
    for one, name, count in zip(found.lengths, names, counts, strict=True):
        sign = beyond if one.first > found.max_length else full
        size = max(1, round(_BAR * one.examples / most)) if one.examples else 0
        lines.append(f"{name:>{wide}}  {count:>{wide_count}}  {sign * size}".rstrip())
        if one.first <= found.max_length <= one.last and found.too_long:
            lines.append(f"{'-' * wide} data.max_length = {formats.count(found.max_length)}")
    return "\n".join(lines)


def row_text(row: InspectedRow, colour: bool) -> str:
    """A row: where it is from, and its text with the learned tokens marked."""
    start, end = _marks()
    text = ""
    most = None if row.chosen == "asked" else _MOST_TOKENS
    for piece in inspection_text.spans(row, most):
        safe = formats.escape_lines(piece.text)
        if colour:
            text += _coloured(safe, piece)
        else:
            text += f"{start}{safe}{end}" if piece.learned else safe
    text = text.replace(f"{end}{start}", "")  # special tokens are pieces of their own
    head = formats.escape(inspection_text.heading(row))
    lines = [click.style(head, bold=True) if colour else head]
    if row.label is not None:
        lines.append(f"class: {formats.escape(row.label)}")
    return "\n".join([*lines, text])


def _coloured(text: str, piece: TextPiece) -> str:
    if piece.learned:
        return click.style(text, fg="green", bold=True)
    return click.style(text, dim=True) if piece.special else text


def _legend(colour: bool) -> str:
    if colour:
        learned = click.style("green", fg="green", bold=True)
        return f"{learned}: tokens that are learned; the others are read only"
    start, end = _marks()
    return f"{start}…{end}: tokens that are learned; the others are read only"


def _marks() -> tuple[str, str]:
    return ("⟦", "⟧") if _encodable("⟦⟧") else ("[[", "]]")


def _encodable(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
