"""`adapters merge`."""

from __future__ import annotations

from pathlib import Path

import click

from tui_trainer.cli.adapters.common import open_client
from tui_trainer.cli.common import options, output
from tui_trainer.launch.predict import merge_classifier
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.text import formats


@click.command()
@click.argument("name", metavar="NAME")
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@options.debug_option
def merge(name: str, target: Path) -> None:
    """Merge an adapter and its base into one plain model.

    That of a classifier loads with AutoModelForSequenceClassification of transformers.

    \b
    Example:
      tui-trainer adapters merge capitals ./capitals-model
    """
    store = AdapterStore()
    folder, info = store.usable_folder(name), store.get(name)
    if info.task == "classification":
        written = merge_classifier(folder, info.base_model, target, _report)
    else:
        with open_client(info) as client:
            written = client.merge(folder, target, on_progress=_report)
    output.data(formats.escape(str(written)))


def _report(text: str) -> None:
    output.message(formats.escape(text))
