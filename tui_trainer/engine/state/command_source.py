"""Commands for the run: new ones, and those that a resumed run must apply again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.run import Command, Event
from tui_trainer.contracts.schedule import RateChange
from tui_trainer.store.runs.command_arguments import usable_rate
from tui_trainer.store.runs.command_log import BadLine, CommandLog
from tui_trainer.store.runs.run_folder import RunFolder

# How long a command may wait for the end of quick steps.
LOOK_SECONDS = 0.1


class CommandSource:
    """Commands from `control.jsonl`, and a `stop` after SIGTERM or SIGINT."""

    def __init__(self, folder: RunFolder) -> None:
        self._inbox = CommandLog(folder)
        self._signalled = False
        self._waiting: list[Command] = []
        self._next_look = 0.0
        self.lapsed = self._inbox.lapsed

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGINT save and stop; a hang-up is ignored. For the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def is_due(self) -> bool:
        """Whether it is time to look again: a look is a system call, too slow for quick steps."""
        waits = self._signalled or bool(self._waiting) or self._inbox.has_bad
        return waits or time.monotonic() >= self._next_look

    def take(self) -> list[Command]:
        """Commands since the last look, in order."""
        self._next_look = time.monotonic() + LOOK_SECONDS
        found, self._waiting = self._waiting + self._inbox.read(), []
        if self._signalled:
            self._signalled = False
            found.append(Command(id="signal", time=0.0, command="stop"))
        return found

    def take_bad(self) -> list[BadLine]:
        """Lines of `control.jsonl` that are not commands, each once."""
        return self._inbox.take_bad()

    def end_command(self) -> Command | None:
        """A waiting stop or cancel, for long work before the first step; others keep waiting."""
        self._waiting = self.take()
        return next((c for c in self._waiting if c.command in ("stop", "cancel")), None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True


def rates_to_replay(
    events: Iterable[Event], from_step: int, rolled_back: float = 0.0
) -> list[tuple[int, float | RateChange]]:
    """(step, rate or change) of every rate that the user set at or after `from_step` and that
    the run acknowledged, so that a run killed after it resumes as if it had not been.

    Rates set in steps that a rewind to an older checkpoint has undone do not count, nor do those
    that the advisor set by itself: it does so again. `rolled_back` is the time of the run's last
    automatic rollback (seconds since the epoch): what was set before it does not count.
    """
    found: list[tuple[int, float | RateChange]] = []
    for event in events:
        detail = event.detail
        if event.time < rolled_back:
            continue
        if event.kind == "learning_rate" and detail.get("by") != "auto":
            # What was set later on, before the run was resumed from here, is overruled.
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
    """The rate or change that an event records; None where it records none that can be read."""
    try:
        if "change" in detail:
            return msgspec.convert(detail["change"], RateChange)
        return usable_rate(detail.get("learning_rate"))
    except BAD_CONTENT:
        return None
