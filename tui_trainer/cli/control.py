"""`control`: asking a running run from any shell."""

from __future__ import annotations

import math
import time
from typing import Any, get_args

import click

from tui_trainer.cli import common, output
from tui_trainer.contracts.advice import AdviceKind
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import ACTIVE_STATES, COMMANDS, Command, CommandName, Event
from tui_trainer.store.runs import present_rate, run_folder
from tui_trainer.store.runs.run_control import send, wait
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.store.toml import nearest
from tui_trainer.text import formats


# A rate below 0 must reach the check of the rate, so it is not taken for an option.
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
    help="Seconds to wait for the run's word.",
)
@common.json_option("Print the run's acknowledgement as one JSON document.")
@common.runs_dir_option
@common.debug_option
@click.pass_context
def control(
    context: click.Context,
    run: str,
    command: CommandName,
    value: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Ask a running run to do something; returns when it has acknowledged.

    'stop' saves and stops, 'cancel' stops without saving, 'set-lr X' sets the learning rate (with
    a warning where it is more than ten times the present one),
    'apply' takes the rate that the newest open advice suggests ('apply ID': that advice),
    'rollback' goes back to the last checkpoint from before it and on with that rate, or from a
    loss spike, with half the rate until a few steps past where it was; 'mute KIND' closes the
    advice of a kind, such as plateau, and never gives it again in this run.

    \b
    Examples:
      tui-trainer control lighthouse pause
      tui-trainer control lighthouse set-lr 1e-4
      tui-trainer control runs/lighthouse-20261101-120000-ab12 stop
    """
    arguments = _arguments(command, value)
    folder = run_folder.find_run(run, common.runs_dir(context))
    rise = present_rate.rise(folder, arguments["learning_rate"]) if command == "set-lr" else None
    if rise is not None:
        output.say(f"warning: {rise}")
    event = _ask(folder, send(folder, command, arguments), timeout)
    if event.detail.get("accepted", True) is not True:
        reason = event.message or "it gave no reason"
        raise UserError(f"run {folder.path.name} refused {command}: {reason}", 1)
    if as_json:
        output.document(event)
    else:
        output.data(f"{command}: {formats.escape(event.message)}")


def _arguments(command: CommandName, value: str | None) -> dict[str, Any]:
    """What goes with the command. Raises `UsageError`."""
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
            raise click.UsageError(f"{command} takes no value; {value!r} is too much")
        return {}
    try:
        rate = float(value or "")
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        got = f"{value!r} is none" if value is not None else "none was given"
        raise click.UsageError(f"set-lr needs a learning rate above 0, such as 1e-4; {got}")
    return {"learning_rate": rate}


def _mute_hint(value: str | None) -> str:
    known = list(get_args(AdviceKind))
    guess = nearest(value, known) if value else None
    got = "none was given" if value is None else f"{value!r} is none"
    hint = f"did you mean {guess}?" if guess else f"there are {', '.join(known)}"
    return f"mute needs a kind of advice; {got}; {hint}"


def _ask(folder: RunFolder, command: Command, timeout: float) -> Event:
    """Waits for the acknowledgement, but not for a run that has ended meanwhile."""
    name = folder.path.name
    deadline = time.monotonic() + timeout
    while True:
        alive = folder.status() in (*ACTIVE_STATES, "idle")
        left = deadline - time.monotonic()
        event = wait(folder, command, min(1.0, max(0.0, left)))
        if event is not None:
            return event
        if not alive:
            status = folder.status()
            raise UserError(f"run {name} is {status} and did not acknowledge {command.command}", 1)
        if left <= 0:
            raise UserError(
                f"run {name} has not acknowledged {command.command} within {timeout:g} s; "
                "it obeys between two steps, so it may still do it (--timeout waits longer)",
                1,
            )
