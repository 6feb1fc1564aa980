"""Commands for the run: new ones, and those that a resumed run must apply again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.runs.run import Command, CommandName, Event
from tui_trainer.contracts.schedule import RateChange
from tui_trainer.store.runs.command_arguments import usable_rate
from tui_trainer.store.runs.command_log import BadLine, CommandLog
from tui_trainer.store.runs.run_folder import RunFolder

# Between reads of control.jsonl, during quick steps.
POLL_SECONDS = 0.1


class CommandSource:
    """Commands from `control.jsonl`, and a `stop` after SIGTERM or SIGINT."""

    def __init__(self, folder: RunFolder) -> None:
        self._inbox = CommandLog(folder)
        self._signalled = False
        self._waiting: list[Command] = []
        self._next_poll = 0.0
        self.lapsed = self._inbox.lapsed  # commands that an earlier engine did not execute

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGINT save and stop; a hang-up is ignored. For the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def is_due(self) -> bool:
        """Return whether to look for commands now; a read is a system call, too slow for every
        quick step."""
        waits = self._signalled or bool(self._waiting) or self._inbox.has_bad
        return waits or time.monotonic() >= self._next_poll

    def new_commands(self) -> list[Command]:
        """Return the commands since the last call, in order."""
        self._next_poll = time.monotonic() + POLL_SECONDS
        found, self._waiting = self._waiting + self._inbox.read(), []
        if self._signalled:
            self._signalled = False
            found.append(Command(id="signal", time=0.0, command="stop"))
        return found

    def new_bad_lines(self) -> list[BadLine]:
        """Return lines of `control.jsonl` that are not commands, each once."""
        return self._inbox.take_bad()

    def end_command(self) -> Command | None:
        """Return a waiting stop or cancel command, for long work before the first step; other
        commands stay waiting."""
        return self.next_of("stop", "cancel")

    def next_of(self, *names: CommandName) -> Command | None:
        """Return the first waiting command of these names; all commands stay waiting."""
        self._waiting = self.new_commands()
        return next((c for c in self._waiting if c.command in names), None)

    def take(self, name: CommandName) -> list[Command]:
        """Return the waiting commands of this name; all others stay waiting."""
        commands = self.new_commands()
        self._waiting = [command for command in commands if command.command != name]
        return [command for command in commands if command.command == name]

    def put_back(self, commands: list[Command]) -> None:
        """Make commands that were not executed wait again."""
        self._waiting = commands + self._waiting

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True


def rates_to_replay(
    events: Iterable[Event], from_step: int, rolled_back: float = 0.0
) -> list[tuple[int, float | RateChange]]:
    """Return (step, rate or change) for every rate that the user set at or after `from_step` and
    that the run acknowledged, so that a run resumed after a kill gives the same result.

    Rates of steps that a rewind to an older checkpoint has undone do not count, nor do automatic
    changes, which the advisor makes again. `rolled_back` is the time of the run's last automatic
    rollback (seconds since the epoch); earlier changes do not count.
    """
    found: list[tuple[int, float | RateChange]] = []
    for event in events:
        detail = event.detail
        if event.time < rolled_back:
            continue
        if event.kind == "learning_rate" and detail.get("by") != "auto":
            # Replaces rates of later steps, set before the run was resumed from here.
            found = [item for item in found if item[0] <= event.step]
            rate = _rate_of(detail)
            if rate is not None:
                found.append((event.step, rate))
        elif event.kind == "rollback" or (event.kind == "resumed" and detail.get("rewound")):
            found = [item for item in found if item[0] < event.step]
            rate = _rate_of(detail) if event.kind == "rollback" else None
            if isinstance(rate, RateChange):
                found.append((event.step, rate))
    return [item for item in found if item[0] >= from_step]


def _rate_of(detail: dict[str, Any]) -> float | RateChange | None:
    """Return the rate or change that an event records; None where that is missing or invalid."""
    try:
        if "change" in detail:
            return msgspec.convert(detail["change"], RateChange)
        return usable_rate(detail.get("learning_rate"))
    except BAD_CONTENT:
        return None
