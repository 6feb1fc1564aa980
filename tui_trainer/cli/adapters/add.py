"""`adapters add`."""

from __future__ import annotations

from pathlib import Path

import click

from tui_trainer.cli.adapters.common import next_step
from tui_trainer.cli.common import options, output
from tui_trainer.store.adapters.adapter_import import add_from
from tui_trainer.store.adapters.adapter_store import AdapterStore


@click.command()
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Its name.  [default: that of the run or folder]")
@click.option(
    "--base",
    metavar="MODEL",
    help="Its base on this machine: a folder, a Hugging Face id or builtin.  [default: the one "
    "that the adapter names]",
)
@options.debug_option
def add(source: Path, name: str | None, base: str | None) -> None:
    """Add an adapter from a run, a run's checkpoint, or a folder in PEFT's format.

    \b
    Examples:
      tui-trainer adapters add runs/lighthouse-20261101-120000-ab12
      tui-trainer adapters add runs/lighthouse-20261101-120000-ab12/checkpoints/best
      tui-trainer adapters add ./downloaded --name helper --base models/tiny
    """
    store = AdapterStore()
    added = add_from(store, source.expanduser(), name, base).name
    output.data(added)
    output.message(next_step(store.get(added)))
