"""The group of `feedback` commands; each has a module of its own."""

from __future__ import annotations

import click

from tui_trainer.cli.common import options
from tui_trainer.cli.common.lazy_group import LazyGroup

_MODULES = {"export": "tui_trainer.cli.feedback.export:export"}


@click.group(cls=LazyGroup, modules=_MODULES)
@options.debug_option
def feedback() -> None:
    """Export the ratings and corrections of the chat as training data.

    \b
    Examples:
      tui-trainer feedback export corrections.jsonl
      tui-trainer feedback export pairs.jsonl --format dpo
    """
