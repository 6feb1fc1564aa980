"""`adapters rename`."""

from __future__ import annotations

import click

from tui_trainer.cli.common import options, output
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.text import formats


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@options.debug_option
def rename(old: str, new: str) -> None:
    """Rename an adapter.

    \b
    Example:
      tui-trainer adapters rename taught-20261121-1 capitals
    """
    AdapterStore().rename(old, new)
    output.message(f"{formats.escape(old)} is renamed to {formats.escape(new)}")
