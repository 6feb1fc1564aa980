"""A command group that imports the module of a command when the command is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from tui_trainer.text import formats


class LazyGroup(click.Group):
    """Imports its commands on demand; an unknown command's error names the nearest known one."""

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        """`modules`: for each command `module:attribute`, in the order of the help text."""
        super().__init__(*args, **kwargs)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands in the order of the help text."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None."""
        if cmd_name not in self._modules:
            return None
        module, _, attribute = self._modules[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a command line; fails with a hint for an unknown one."""
        name = args[0]
        if name not in self._modules and not name.startswith("-"):
            from tui_trainer.text.similar import nearest

            guess = nearest(name, list(self._modules))
            known = ", ".join(self._modules)
            hint = f"did you mean {guess!r}?" if guess else f"known: {known}"
            ctx.fail(f"no such command {formats.escape(name)!r}; {hint}")
        return super().resolve_command(ctx, args)
