"""`adapters edit`."""

from __future__ import annotations

import click

from tui_trainer.cli.common import options, output
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.text import formats


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--description", metavar="TEXT", help='What it is for, one line; "" removes it.')
@click.option("--tag", "tags", multiple=True, metavar="T", help="Add a tag; may be repeated.")
@click.option("--untag", "untags", multiple=True, metavar="T", help="Remove a tag; may be "
              "repeated.")  # fmt: skip
@options.debug_option
def edit(
    name: str, description: str | None, tags: tuple[str, ...], untags: tuple[str, ...]
) -> None:
    """Change the description and the tags of an adapter.

    \b
    Examples:
      tui-trainer adapters edit capitals --description "capitals of Europe" --tag geography
      tui-trainer adapters edit capitals --untag draft
      tui-trainer adapters list --filter tag:geography
    """
    if description is None and not tags and not untags:
        raise click.UsageError("give --description, --tag or --untag")
    info = AdapterStore().edit(name, description=description, tag=tags, untag=untags)
    facts = [("description", info.description), ("tags", ", ".join(info.tags))]
    output.message(output.pairs([(label, text or formats.MISSING) for label, text in facts]))
