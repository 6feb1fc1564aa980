"""`monitor`: the dashboard over any folder of runs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tui_trainer.cli.common import options
from tui_trainer.contracts.errors import UserError, reason_of


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.debug_option
def monitor(folder: Path) -> int:
    """Watch a folder of runs, ours or other tools'; never loads torch.

    \b
    Examples:
      tui-trainer monitor runs
      tui-trainer monitor sample_runs
    """
    folder = folder.expanduser()
    check_folder(folder)
    return options.open_app(folder, monitor_only=True)


def check_folder(folder: Path) -> None:
    """Raise `UserError` where there is no folder that can be read."""
    try:
        with os.scandir(folder):
            return
    except FileNotFoundError:
        raise UserError(f"{folder} does not exist; give a folder of runs") from None
    except NotADirectoryError:
        raise UserError(f"{folder} is not a folder; give a folder of runs") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {reason_of(error)}") from None
