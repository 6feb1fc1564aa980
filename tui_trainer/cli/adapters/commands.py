"""The group of `adapters` commands; each has a module of its own."""

from __future__ import annotations

import click

from tui_trainer.cli.common import options
from tui_trainer.cli.common.lazy_group import LazyGroup

_MODULES = {
    "list": "tui_trainer.cli.adapters.list:list_adapters",
    "show": "tui_trainer.cli.adapters.show:show",
    "load": "tui_trainer.cli.adapters.load:load",
    "unload": "tui_trainer.cli.adapters.load:unload",
    "edit": "tui_trainer.cli.adapters.edit:edit",
    "rename": "tui_trainer.cli.adapters.rename:rename",
    "delete": "tui_trainer.cli.adapters.trash:delete",
    "restore": "tui_trainer.cli.adapters.trash:restore",
    "purge": "tui_trainer.cli.adapters.trash:purge",
    "add": "tui_trainer.cli.adapters.add:add",
    "export": "tui_trainer.cli.adapters.export:export",
    "merge": "tui_trainer.cli.adapters.merge:merge",
    "compare": "tui_trainer.cli.adapters.compare:compare",
}


@click.group(cls=LazyGroup, modules=_MODULES)
@options.debug_option
def adapters() -> None:
    """List, activate, compare, merge, export and delete adapters.

    \b
    Examples:
      tui-trainer adapters list
      tui-trainer adapters load taught-20261121-1
      tui-trainer adapters export taught-20261121-1 capitals.tar.gz
    """
