"""`feedback export`."""

from __future__ import annotations

from pathlib import Path

import click

from tui_trainer.cli.common import options, output
from tui_trainer.store.feedback.feedback_export import FORMATS, export_feedback
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.text import formats


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="jsonl",
    show_default=True,
    help="jsonl: right answers; dpo: right and wrong ones in pairs; kto: each with a label.",
)
@options.json_option("Print the counts as JSON.")
@options.debug_option
def export(file: Path, format_: str, as_json: bool) -> None:
    """Write the feedback to a new file, one JSON object a line.

    The file of the format jsonl can be used as data.train of a job.

    \b
    Examples:
      tui-trainer feedback export corrections.jsonl
      tui-trainer feedback export pairs.jsonl --format dpo
    """
    store = FeedbackStore()
    result = export_feedback(store.examples(), file.expanduser(), format_)
    if store.unreadable:
        lines = formats.plural(store.unreadable, "line")
        output.message(formats.escape(f"{lines} of {store.file} cannot be read and are left out"))
    if as_json:
        output.record(result)
    else:
        output.data(formats.escape(result.text()))
