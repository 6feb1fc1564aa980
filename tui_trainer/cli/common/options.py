"""What the commands share: options, and opening the full-screen session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from tui_trainer.cli.common import debug_log, output
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.settings import Settings
from tui_trainer.store.settings import load_settings

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class GlobalOptions:
    """Options before the command name; each command accepts them behind it too."""

    debug: bool = False
    runs_dir: Path | None = None


def debug_option(command: F) -> F:
    """`--debug`, accepted before the command name and behind it."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )(command)


def runs_dir_option(command: F) -> F:
    """`--runs-dir DIR`; see `runs_dir`."""
    return click.option(
        "--runs-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        expose_value=False,
        callback=_set_runs_dir,
        help="Folder of runs.  [default: runs]",
    )(command)


def json_option(help_text: str) -> Callable[[F], F]:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def set_option(command: F) -> F:
    """`--set KEY=VALUE`, as `overrides`."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Replace a value of the job; may be repeated.",
    )(command)


def runs_dir(context: click.Context) -> Path:
    """The folder of runs: from the command line, else from the configuration.

    Raises `UserError` for a broken configuration even where the command line has the folder, so
    that the error comes before anything is started.
    """
    settings = load_settings()
    options = context.find_object(GlobalOptions)
    chosen = options.runs_dir if options is not None else None
    return (chosen or Path(settings.runs_dir)).expanduser()


def open_app(
    folder: Path,
    *,
    focus: Path | None = None,
    monitor_only: bool = False,
    model: str | None = None,
) -> int:
    """Show the full-screen session and return its exit status.

    `model` is the base of the chat (default: that of the configuration). Raises `UserError`
    where there is no terminal.
    """
    if not output.is_interactive():
        raise UserError(
            "the full-screen session needs a terminal; without one, use tui-trainer train "
            "--headless, runs list or runs show"
        )
    from tui_trainer.tui.startup import gc_pause

    gc_pause.pause()
    settings = load_settings()
    if not monitor_only:
        import msgspec

        settings = msgspec.structs.replace(settings, model=chat_model(model, settings))
    from tui_trainer.tui.full_screen import run_app  # loads Textual: a quarter of a second

    with debug_log.held_back():
        return run_app(folder, focus=focus, monitor_only=monitor_only, settings=settings)


def chat_model(given: str | None, settings: Settings) -> str:
    """The base model of the chat: from the command line, else from the configuration, where a
    relative path is relative to the configuration's folder. Raises `UserError` for a path that
    is not a model folder."""
    from tui_trainer.store import jobs, paths  # not needed by the monitor

    if given is not None:
        return jobs.resolve_model(given, Path.cwd(), "--model")
    file = paths.config_file()
    return jobs.resolve_model(settings.model, file.parent, f"{file}: model")


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(GlobalOptions).debug = True
        debug_log.start()


def _set_runs_dir(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(GlobalOptions).runs_dir = value
