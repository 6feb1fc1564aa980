"""`adapters show`."""

from __future__ import annotations

import click

from tui_trainer.cli.adapters.common import document_of, print_table
from tui_trainer.cli.common import options, output
from tui_trainer.repl import tables
from tui_trainer.store.adapters.adapter_store import AdapterStore


@click.command()
@click.argument("name", metavar="NAME")
@options.json_option("Print one JSON document.")
@options.debug_option
def show(name: str, as_json: bool) -> None:
    """Show one adapter, and whether its files are complete.

    \b
    Example:
      tui-trainer adapters show taught-20261121-1 --json
    """
    store = AdapterStore()
    found = store.entry(name)
    if as_json:
        output.document({**document_of(store, found), "problem": store.problem(name)})
    else:
        weight = store.live(found.info.base_model).get(name)
        print_table(tables.adapter_facts(found, weight, store.problem(name)))
