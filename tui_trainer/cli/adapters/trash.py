"""`adapters delete`, `restore` and `purge`: moving adapters to the trash and out of it."""

from __future__ import annotations

import click

from tui_trainer.cli.common import options, output
from tui_trainer.contracts.errors import UserError
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.text import formats


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@options.debug_option
def delete(name: str, yes: bool) -> None:
    """Delete an adapter by moving it to the trash.

    \b
    Examples:
      tui-trainer adapters delete capitals
      tui-trainer adapters delete capitals --yes
    """
    store = AdapterStore()
    store.get(name)
    _confirm(f"delete adapter {name}?", yes)
    store.delete(name)
    shown = formats.escape(name)
    output.message(
        f"{shown} is moved to the trash; restore it with tui-trainer adapters restore {shown}"
    )


@click.command()
@click.argument("name", metavar="NAME")
@options.debug_option
def restore(name: str) -> None:
    """Restore a deleted adapter, the newest of that name.

    \b
    Example:
      tui-trainer adapters restore capitals
    """
    output.data(AdapterStore().restore(name))


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@options.debug_option
def purge(yes: bool) -> None:
    """Delete everything in the trash permanently.

    \b
    Example:
      tui-trainer adapters purge --yes
    """
    _confirm("delete everything in the trash permanently?", yes)
    count = AdapterStore().purge()
    output.message(f"{formats.plural(count, 'adapter is', 'adapters are')} deleted permanently")


def _confirm(question: str, yes: bool) -> None:
    """Ask the user, unless `--yes` was given. Raises `UserError` where it is not confirmed."""
    if yes:
        return
    if not output.is_interactive():
        raise UserError(f"{question} There is no terminal to ask on; confirm with --yes")
    if not click.confirm(formats.escape(question), err=True):
        raise UserError("not confirmed; nothing is changed", 1)
