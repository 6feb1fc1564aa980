"""The group of `runs` commands; each has a module of its own."""

from __future__ import annotations

import click

from tui_trainer.cli.common import options
from tui_trainer.cli.common.lazy_group import LazyGroup

_MODULES = {
    "list": "tui_trainer.cli.runs.list:list_runs",
    "show": "tui_trainer.cli.runs.show:show",
    "diff": "tui_trainer.cli.runs.diff:diff",
    "export": "tui_trainer.cli.runs.export:export",
    "advise": "tui_trainer.cli.runs.advise:advise",
}


@click.group(cls=LazyGroup, modules=_MODULES)
@options.runs_dir_option
@options.debug_option
def runs() -> None:
    """List, show, compare and export runs, ours and other tools'.

    \b
    Examples:
      tui-trainer runs list --filter 'loss<2 status:running'
      tui-trainer runs show lighthouse --json
      tui-trainer runs diff lighthouse lighthouse-2
      tui-trainer runs export lighthouse --format csv -o lighthouse.csv
    """
