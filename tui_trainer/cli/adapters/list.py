"""`adapters list`."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from tui_trainer.cli.adapters.common import document_of, print_table
from tui_trainer.cli.common import options, output
from tui_trainer.contracts.errors import UserError
from tui_trainer.repl import tables
from tui_trainer.store.adapters.adapter_store import AdapterEntry, AdapterStore
from tui_trainer.text import formats


@click.command("list")
@click.option("--filter", "conditions", default="", metavar="TEXT", help="Words and conditions: "
              "'tag:support val_accuracy>=0.9 task:classification -test'.")  # fmt: skip
@click.option("--sort", "order", default="", metavar="FIELD", help="name, loss, val, steps, "
              "recalled, kept, queries, size, age ...; -FIELD reverses the order.")  # fmt: skip
@click.option("--trash", is_flag=True, help="List deleted adapters, which can be restored.")
@options.json_option("Print one JSON document.")
@options.debug_option
def list_adapters(conditions: str, order: str, trash: bool, as_json: bool) -> None:
    """List the adapters, oldest first.

    \b
    Examples:
      tui-trainer adapters list
      tui-trainer adapters list --filter 'tag:support loss<2' --sort -age
      tui-trainer adapters list --trash
    """
    store = AdapterStore()
    if trash:
        if conditions or order:
            raise click.UsageError("--trash cannot be combined with --filter and --sort")
        _list_trash(store, as_json=as_json)
        return
    every = store.list()
    found = _chosen(every, conditions, order) if conditions or order else every
    if as_json:
        output.document([document_of(store, entry) for entry in found])
    elif found:
        bases = {entry.info.base_model for entry in found}
        live = {name: weight for base in bases for name, weight in store.live(base).items()}
        print_table(tables.adapter_table(found, live))
    elif every:
        adapters = formats.plural(len(every), "adapter")
        output.message(f"no match among {adapters}; change --filter")
    else:
        output.message(
            "no adapters yet; create one with tui-trainer repl, then /fix TEXT and /train"
        )


def _chosen(every: Sequence[AdapterEntry], conditions: str, order: str) -> Sequence[AdapterEntry]:
    """The matching adapters in order. Raises `UserError`."""
    from tui_trainer.watch.query import adapter_fields
    from tui_trainer.watch.query.fields import score_field, sort_items
    from tui_trainer.watch.query.query import parse_for

    name = order.removeprefix("-")
    schema = adapter_fields.ADAPTERS
    values = {entry.info.name: adapter_fields.own_values(entry) for entry in every}
    scores = {score for own in values.values() for score in own}
    field = schema.fields.get(name)
    if name and field is None:
        if name not in scores:
            problem = parse_for(schema, f"{name}=1", scores).problem
            raise UserError(f"--sort {order}: {problem or 'no such field'}")
        field = score_field(name, lambda entry: values[entry.info.name].get(name))
    now = time.time()
    found, problem = adapter_fields.chosen(every, conditions, now)
    if problem is not None:
        raise UserError(f"--filter: {problem}")
    falling = field is not None and field.descending != order.startswith("-")
    return sort_items(found, field, falling, now)


def _list_trash(store: AdapterStore, *, as_json: bool) -> None:
    found = store.trash()
    if as_json:
        output.document([entry._asdict() for entry in found])
    elif found:
        print_table(tables.trash_table(found))
    else:
        output.message("the trash is empty")
