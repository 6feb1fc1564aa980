"""`docs/reference/commands.md`: every command with its options, and the slash commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from tests.tables.reference.markdown import cell, code, table
from tui_trainer.cli.main import root
from tui_trainer.repl import command_table

NAME = "tui-trainer"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, the root first."""
    yield from _within(NAME, root)


def _within(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _within(f"{name} {inner}", found)


def _value(option: click.Parameter) -> str:
    """What stands for an option's value, such as NAME; empty for a flag."""
    if isinstance(option, click.Option) and (option.is_flag or option.count):
        return ""
    if isinstance(option.type, click.Choice):
        return option.metavar or "|".join(str(choice) for choice in option.type.choices)
    kinds = {"integer": "N", "integer range": "N", "float": "X", "float range": "X"}
    return option.metavar or kinds.get(option.type.name, (option.name or "").upper())


def _limits(option: click.Parameter) -> str:
    """The range of a number, as far as the help does not give it."""
    kind = option.type
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    low = "" if kind.min is None else f"{kind.min:g} or more"
    high = "" if kind.max is None else f"{kind.max:g} or less"
    return f" ({', '.join(part for part in (low, high) if part)})" if low or high else ""


def _usage(name: str, command: click.Command) -> str:
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    words = [one.metavar or (one.name or "").upper() for one in arguments]
    more = "COMMAND" if isinstance(command, click.Group) else ""
    return " ".join(part for part in (name, "[OPTIONS]", *words, more) if part)


def _default(option: click.Option) -> str:
    shown = option.show_default
    if isinstance(shown, str):
        return f" Default: {shown}."
    value = option.default
    if shown and isinstance(value, str | int | float) and not isinstance(value, bool):
        return f" Default: {value}."
    return ""


def _options(command: click.Command) -> str:
    rows = []
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            names = ", ".join([*option.opts, *option.secondary_opts])
            text = f"{option.help or ''}{_limits(option)}{_default(option)}"
            rows.append([code(f"{names} {_value(option)}".strip()), cell(text)])
    return table(["option", "what it does"], rows) if rows else ""


def _help(command: click.Command) -> list[str]:
    """The paragraphs of the help; those that keep their lines (`\\b`) as blocks."""
    parts = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            title, _, lines = paragraph[2:].partition("\n")
            parts += [title, f"```text\n{inspect.cleandoc(lines)}\n```"]
        else:
            parts.append(re.sub(r"([<*_])", r"\\\1", " ".join(paragraph.split())))
    return parts


def page() -> str:
    """The page as Markdown."""
    parts = [
        "# Commands",
        "Data goes to standard output, messages to standard error. The exit status is 0 for done, "
        "1 for failed, 2 for wrong usage or bad input, 130 for interrupted. Every command has "
        "`--help`.",
    ]
    for name, command in commands():
        parts += [f"## `{name}`", f"```text\n{_usage(name, command)}\n```"]
        parts += [*_help(command), _options(command)]
    parts += [
        "## Slash commands of the chat",
        "In the chat of the full-screen session and in `tui-trainer repl`. Arguments in brackets "
        "may be left out.",
    ]
    rows = [
        [code(usage), cell(text)]
        for name in command_table.COMMANDS
        for usage, text in command_table.usage_lines(name)
    ]
    parts.append(table(["command", "what it does"], rows))
    return "\n\n".join(part for part in parts if part) + "\n"
