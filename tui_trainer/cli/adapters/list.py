"""`adapters list`."""

from __future__ import annotations

import click

from tui_trainer.cli import common, output
from tui_trainer.cli.adapters.common import document_of, print_table
from tui_trainer.repl import tables
from tui_trainer.store.adapters.adapter_store import AdapterStore


@click.command("list")
@click.option("--trash", is_flag=True, help="List deleted adapters, which can be restored.")
@common.json_option("Print one JSON document.")
@common.debug_option
def list_adapters(trash: bool, as_json: bool) -> None:
    """List the adapters, oldest first.

    \b
    Examples:
      tui-trainer adapters list
      tui-trainer adapters list --trash
    """
    store = AdapterStore()
    if trash:
        _list_trash(store, as_json=as_json)
        return
    found = store.list()
    if as_json:
        output.document([document_of(store, entry) for entry in found])
    elif found:
        bases = {entry.info.base_model for entry in found}
        live = {name: weight for base in bases for name, weight in store.live(base).items()}
        print_table(tables.adapter_table(found, live))
    else:
        output.message(
            "no adapters yet; create one with tui-trainer repl, then /fix TEXT and /train"
        )


def _list_trash(store: AdapterStore, *, as_json: bool) -> None:
    found = store.trash()
    if as_json:
        output.document([entry._asdict() for entry in found])
    elif found:
        print_table(tables.trash_table(found))
    else:
        output.message("the trash is empty")
