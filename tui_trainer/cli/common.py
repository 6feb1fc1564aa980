"""What the commands share: options, and the way into the full-screen session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from tui_trainer.cli import debug_log, output
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.settings import Settings
from tui_trainer.store.settings import load_settings

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class GlobalOptions:
    """What was said in front of the command; each command may say it again for itself."""

    debug: bool = False
    runs_dir: Path | None = None


def debug_option(command: F) -> F:
    """`--debug`, taken in front of the command and behind it."""
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

    Raises `UserError` for a broken configuration even where the command line wins, so that it
    is told before anything was started.
    """
    settings = load_settings()
    said = context.find_object(GlobalOptions)
    chosen = said.runs_dir if said is not None else None
    return (chosen or Path(settings.runs_dir)).expanduser()


def open_app(
    folder: Path,
    *,
    focus: Path | None = None,
    monitor_only: bool = False,
    model: str | None = None,
) -> int:
    """Shows the full-screen session and gives its exit status; `model` is the chat's, else the
    configuration's. Raises `UserError` where there is no terminal."""
    if not output.is_interactive():
        raise UserError(
            "the full-screen session needs a terminal; without one, use train --headless, "
            "runs list or runs show"
        )
    from tui_trainer.tui.startup import gc_pause

    gc_pause.hold()
    settings = load_settings()
    if not monitor_only:
        import msgspec

        settings = msgspec.structs.replace(settings, model=chat_model(model, settings))
    from tui_trainer.tui.app import run_app  # Textual: a quarter of a second

    with debug_log.held_back():
        return run_app(folder, focus=focus, monitor_only=monitor_only, settings=settings)


def chat_model(said: str | None, settings: Settings) -> str:
    """The base to talk to: from the command line, else from the configuration, where a relative
    folder counts from the configuration's own. Raises `UserError` for a folder that is none."""
    from tui_trainer.store import jobs, paths  # the monitor does without

    if said is not None:
        return jobs.resolve_model(said, Path.cwd(), "--model")
    file = paths.config_file()
    return jobs.resolve_model(settings.model, file.parent, f"{file}: model")


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(GlobalOptions).debug = True
        debug_log.start()


def _set_runs_dir(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(GlobalOptions).runs_dir = value
