"""`control`: sends a command to a running run from any shell."""

from __future__ import annotations

import math
import time
from typing import Any, get_args

import click

from tui_trainer.cli.common import options, output
from tui_trainer.contracts.advice import AdviceKind
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import ACTIVE_STATES, COMMANDS, Command, CommandName, Event
from tui_trainer.store.runs import present_rate, run_folder
from tui_trainer.store.runs.run_control import send, wait
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.text.similar import nearest


# A rate below 0 must reach the check of the rate, so it is not parsed as an option.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("run", metavar="RUN")
@click.argument("command", metavar="|".join(COMMANDS), type=click.Choice(COMMANDS))
@click.argument("value", metavar="[X]", required=False)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait for the acknowledgement.",
)
@options.json_option("Print the run's acknowledgement as one JSON document.")
@options.runs_dir_option
@options.debug_option
@click.pass_context
def control(
    context: click.Context,
    run: str,
    command: CommandName,
    value: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Send a command to a run and wait until it is acknowledged.

    'stop' saves and stops; 'cancel' stops without saving; 'set-lr X' sets the learning rate, with
    a warning where it is more than ten times the current one; 'apply' sets the rate that the
    newest open advice suggests ('apply ID': that advice); 'rollback' returns to the last
    checkpoint before that advice and continues with its rate (after a loss spike: with half the
    rate until a few steps past the spike); 'mute KIND' closes the advice of a kind, such as
    plateau, and turns it off for this run; 'skip-evaluation' cancels the evaluation that is
    running, and training continues.

    \b
    Examples:
      tui-trainer control lighthouse pause
      tui-trainer control lighthouse set-lr 1e-4
      tui-trainer control runs/lighthouse-20261101-120000-ab12 stop
    """
    arguments = _arguments(command, value)
    folder = run_folder.find_run(run, options.runs_dir(context))
    rise = present_rate.rise(folder, arguments["learning_rate"]) if command == "set-lr" else None
    if rise is not None:
        output.message(f"warning: {rise}")
    event = _ask(folder, send(folder, command, arguments), timeout)
    if event.detail.get("accepted", True) is not True:
        reason = event.message or "it gave no reason"
        raise UserError(f"run {folder.path.name} refused {command}: {reason}", 1)
    if as_json:
        output.document(event)
    else:
        output.data(f"{command}: {formats.escape(event.message)}")


def _arguments(command: CommandName, value: str | None) -> dict[str, Any]:
    """The arguments of the command. Raises `UsageError`."""
    if value is not None and value.startswith("--"):
        raise click.NoSuchOption(value.partition("=")[0])
    if command in ("apply", "rollback"):
        return {} if value is None else {"advice": value}
    if command == "mute":
        if value is None or value not in get_args(AdviceKind):
            raise click.UsageError(_mute_hint(value))
        return {"kind": value}
    if command != "set-lr":
        if value is not None:
            raise click.UsageError(f"{command} takes no value, but got {value!r}")
        return {}
    try:
        rate = float(value or "")
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        got = f"got {value!r}" if value is not None else "none was given"
        raise click.UsageError(f"set-lr needs a learning rate above 0, such as 1e-4; {got}")
    return {"learning_rate": rate}


def _mute_hint(value: str | None) -> str:
    known = list(get_args(AdviceKind))
    guess = nearest(value, known) if value else None
    got = "none was given" if value is None else f"there is no {value!r}"
    hint = f"did you mean {guess}?" if guess else f"choose one of {', '.join(known)}"
    return f"mute needs a kind of advice; {got}; {hint}"


def _ask(folder: RunFolder, command: Command, timeout: float) -> Event:
    """Wait for the acknowledgement, unless the run ends meanwhile."""
    name = folder.path.name
    deadline = time.monotonic() + timeout
    while True:
        alive = folder.status() in (*ACTIVE_STATES, "idle")
        remaining = deadline - time.monotonic()
        event = wait(folder, command, min(1.0, max(0.0, remaining)))
        if event is not None:
            return event
        if not alive:
            status = folder.status()
            raise UserError(f"run {name} is {status} and did not acknowledge {command.command}", 1)
        if remaining <= 0:
            raise UserError(
                f"run {name} has not acknowledged {command.command} within {timeout:g} s; "
                "it executes commands between two steps, so the command may still be executed; "
                "--timeout S waits longer",
                1,
            )
