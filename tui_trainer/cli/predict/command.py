"""`predict`: labels of a classifier, or answers of a causal model, for the rows of a file."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tui_trainer.cli.common import options, output
from tui_trainer.cli.predict.files import PredictionWriter, StdoutWriter, open_writer
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.predict import Prediction, PredictSetup, RowsPredicted
from tui_trainer.evaluation import target
from tui_trainer.evaluation.target import Target
from tui_trainer.launch.predict import PredictorProcess
from tui_trainer.store.settings import load_settings
from tui_trainer.text import formats

_STDIN = "-"
_NAMED_ROWS = 3  # rows without a prediction that are named
_NAMED_LABELS = 8  # labels that are counted by name


@click.command()
@click.argument("source", metavar="ADAPTER|RUN")
@click.argument("file", metavar="FILE|-")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), metavar="OUT",
              help="Write to this file: .jsonl, .csv or .parquet.  [default: JSONL to standard "
              "output]")  # fmt: skip
@click.option("--max-new-tokens", type=click.IntRange(min=1), metavar="N",
              help="Most tokens of an answer.  [default: teaching.max_new_tokens]")  # fmt: skip
@options.runs_dir_option
@options.debug_option
@click.pass_context
def predict(
    context: click.Context, source: str, file: str, out: Path | None, max_new_tokens: int | None
) -> int:
    """Predict for every row of a file with a trained adapter.

    A classifier gives a label and the probabilities of all classes, a causal model an answer. Rows
    have the same fields as for training (text, question, messages ...); labels and answers in them
    are not read. FILE is JSONL, JSON, CSV or Parquet; any other file, and - (standard input), has
    JSON objects or a text in each line. A row that cannot be used gets an error in its place.
    Ctrl-C keeps the rows that are written.

    \b
    Examples:
      tui-trainer predict bank test.csv -o labels.csv
      tui-trainer predict runs/bank-20261130-120000-ab12 test.parquet -o labels.parquet
      echo "my card is lost" | tui-trainer predict bank -
    """
    found, adapter = _find(source, options.runs_dir(context))
    if out is not None:
        out = out.expanduser()
    setup = PredictSetup(
        adapter=str(adapter.absolute()),
        base=found.model,
        labels=found.labels,
        trust_remote_code=found.trust_remote_code,
        max_new_tokens=max_new_tokens or load_settings().teaching.max_new_tokens,
    )
    with _readable(file, out) as path, open_writer(out, found.task) as writer:
        return _predict(setup, path, writer)


def _find(source: str, runs_dir: Path) -> tuple[Target, Path]:
    """What predicts, and its adapter's folder. Raises `UserError` for a model without one."""
    found = target.find(source, runs_dir)
    if found.adapter is None:
        raise UserError(
            f"{found.name} is a model without an adapter; name a run or an adapter, see: "
            "tui-trainer adapters list"
        )
    return found, found.adapter


@contextmanager
def _readable(file: str, out: Path | None) -> Iterator[Path]:
    """The file to read; standard input is copied into a temporary one."""
    if file == _STDIN:
        with tempfile.TemporaryDirectory(prefix="tui-trainer-") as folder:
            copy = Path(folder) / "stdin"
            with copy.open("wb") as stream:
                shutil.copyfileobj(sys.stdin.buffer, stream)
            yield copy
        return
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"{path} is not a file; name one, or - for standard input")
    if out is not None and out.exists() and out.samefile(path):
        raise UserError(f"{out} is the file that is read; write to another one")
    yield path


def _predict(setup: PredictSetup, file: Path, writer: PredictionWriter) -> int:
    shown = _Progress(writer)
    counts = _Counts()
    try:
        with PredictorProcess(setup, shown.status) as process:
            for notice in process.facts.notices:
                shown.clear()
                output.message(f"warning: {formats.escape(notice)}")
            for event in process.file(file):
                writer.write(event.rows)
                counts.add(event)
                shown.rows(counts.done, counts.total)
    except (KeyboardInterrupt, UserError) as error:
        shown.clear()
        kept = writer.finish()
        if counts.done:
            of_all = f"{formats.count(counts.done)} of {formats.plural(counts.total, 'row')}"
            verb = "is" if counts.total == 1 else "are"
            output.message(f"stopped early: {of_all} {verb} written to {formats.escape(kept)}")
        if isinstance(error, KeyboardInterrupt):
            raise UserError("interrupted", 130) from None
        raise
    shown.clear()
    kept = writer.finish()
    counts.report(kept)
    return 1 if counts.total and counts.failed == counts.total else 0


class _Counts:
    """What was predicted so far."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.failed = 0
        self._cut = 0
        self._errors: list[str] = []
        self._labels: Counter[str] = Counter()

    def add(self, event: RowsPredicted) -> None:
        """Count the predictions of an event."""
        self.total = event.total
        self.done += len(event.rows)
        for row in event.rows:
            self._add(row)

    def report(self, written_to: str) -> None:
        """Print what there is to know about all rows."""
        where = formats.escape(written_to)
        if not self.total:
            output.message("warning: the file has no rows; nothing is predicted")
            return
        verb = "is" if self.total == 1 else "are"
        output.message(f"{formats.plural(self.total, 'row')} {verb} written to {where}")
        if self._labels:
            shown = [f"{label} {formats.count(n)}" for label, n in self._labels.most_common()]
            more = len(shown) - _NAMED_LABELS
            rest = f", and {formats.plural(more, 'more class', 'more classes')}" if more > 0 else ""
            output.message(formats.escape("labels: " + ", ".join(shown[:_NAMED_LABELS])) + rest)
        if self._cut:
            output.message(
                f"warning: {formats.plural(self._cut, 'row')} longer than the base can read: "
                "only a part was used"
            )
        if self.failed:
            named = "; ".join(self._errors)
            more = self.failed - len(self._errors)
            rest = f"; and {formats.count(more)} more, see the field error" if more else ""
            output.message(
                f"warning: {formats.count(self.failed)} of {formats.plural(self.total, 'row')} "
                f"without a prediction: {formats.escape(named)}{rest}"
            )

    def _add(self, row: Prediction) -> None:
        self._cut += row.cut
        if row.label is not None:
            self._labels[row.label] += 1
        if row.error is not None:
            self.failed += 1
            if len(self._errors) < _NAMED_ROWS:
                self._errors.append(row.error)


class _Progress:
    """A line of progress on standard error, where that is a terminal that shows nothing else."""

    def __init__(self, writer: PredictionWriter) -> None:
        shares_terminal = isinstance(writer, StdoutWriter) and sys.stdout.isatty()
        self._live = output.can_rewrite_line() and not shares_terminal
        self._started: float | None = None

    def status(self, text: str) -> None:
        """Show what is loaded."""
        self._draw(text)

    def rows(self, done: int, total: int) -> None:
        """Show how many rows are predicted, and the remaining time."""
        now = time.monotonic()
        if self._started is None:
            self._started = now
        remaining = ""
        if done:
            left = (now - self._started) / done * (total - done)
            remaining = f"  {formats.duration(left)} remaining"
        self._draw(f"row {formats.steps(done, total)}{remaining}")

    def clear(self) -> None:
        """Remove the line."""
        if self._live:
            click.echo("\r\x1b[K", err=True, nl=False)

    def _draw(self, text: str) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{formats.escape(text)[:width]}", err=True, nl=False)
