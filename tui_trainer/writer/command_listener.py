"""Commands for another program's training loop: which it executes and which it refuses."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from tui_trainer.contracts.runs.run import COMMANDS, Command, CommandName
from tui_trainer.store.runs.command_arguments import shown, usable_rate
from tui_trainer.store.runs.command_log import CommandLog
from tui_trainer.text import formats
from tui_trainer.writer.run_files import RunFiles

# Why a loop refuses a command that it does not support.
_UNSUPPORTED = {
    "pause": "this training loop cannot pause",
    "resume": "this training loop cannot pause",
    "checkpoint": "this training loop cannot save a checkpoint on command",
    "stop": "this training loop cannot save and stop on command",
    "cancel": "this training loop cannot stop on command",
    "set-lr": "this training loop cannot change its learning rate on command",
    "apply": "this training loop has no advisor",
    "rollback": "this training loop has no advisor",
    "mute": "this training loop has no advisor",
}


@dataclass
class PendingCommand:
    """One command for the loop. Answer it with `done` or `refuse`; later answers are ignored."""

    name: CommandName  # what to do
    learning_rate: float | None  # of set-lr: a finite number above 0; else None
    _command: Command = field(repr=False)
    _listener: CommandListener = field(repr=False)
    answered: bool = field(default=False, init=False)  # whether `done` or `refuse` was called

    def done(self, message: str = "", *, saved: bool = True) -> None:
        """Report that the loop has executed the command.

        `message` is the answer to the sender; `saved` tells whether a stop saved a checkpoint.
        """
        if not self.answered:
            self.answered = True
            self._listener.executed(self, message, saved=saved)

    def refuse(self, reason: str) -> None:
        """Report that the loop does not execute the command, with the reason."""
        if not self.answered:
            self.answered = True
            self._listener.answer(self._command, reason, accepted=False)

    @property
    def step(self) -> int:
        """The last finished step."""
        return self._listener.step

    @property
    def command(self) -> Command:
        """The command's record in `control.jsonl`."""
        return self._command


class CommandListener:
    """Reads a run's commands between two steps, and executes pause and resume itself.

    `ending` is the command that ends the loop, None before one; `saved` tells whether a
    checkpoint was saved for it.
    """

    def __init__(self, records: RunFiles) -> None:
        self._records = records
        self._log = CommandLog(records.folder)
        self._supported: frozenset[CommandName] = frozenset()
        self._paused_at: float | None = None
        self._paused_seconds = 0.0
        self.ending: Literal["stop", "cancel"] | None = None
        self.saved = False

    @property
    def step(self) -> int:
        """The last finished step."""
        return self._records.state.step

    @property
    def paused(self) -> bool:
        """Whether the loop must wait."""
        return self._paused_at is not None

    @property
    def paused_seconds(self) -> float:
        """Seconds paused so far."""
        now = 0.0 if self._paused_at is None else time.monotonic() - self._paused_at
        return self._paused_seconds + now

    def support(self, *names: CommandName) -> None:
        """Accept these commands, too, from now on, and list them in `state.json`."""
        supported = self._supported | set(names)
        if supported != self._supported:
            self._supported = supported
            self._records.update(commands=tuple(name for name in COMMANDS if name in supported))
            self._records.write_state()

    def read(self) -> list[PendingCommand]:
        """New commands that the loop must execute, in order; all others are answered here."""
        found = []
        commands = self._log.read()
        self._report_bad_lines()
        for command in commands:
            pending = self._check(command)
            if pending is None:
                continue
            if pending.name == "pause":
                self._pause(pending)
            elif pending.name == "resume":
                self._resume(pending)
            else:
                found.append(pending)
        return found

    def answer(self, command: Command, message: str, *, accepted: bool = True) -> None:
        """Write the event that acknowledges a command."""
        detail = {"command": command.command, "accepted": accepted}
        self._records.event("command", message, id=command.id, detail=detail)

    def executed(self, pending: PendingCommand, message: str, *, saved: bool) -> None:
        """Record a command that the loop has executed."""
        if pending.name == "set-lr":
            rate = pending.learning_rate
            # The change before the answer, in the engine's order.
            self._records.event(
                "learning_rate",
                f"learning rate set to {formats.rate(rate)}",
                detail={"learning_rate": rate},
            )
        elif pending.name == "stop" or pending.name == "cancel":
            self.ending, self.saved = pending.name, saved and pending.name == "stop"
            self.end_pause()
        self.answer(pending.command, message or _default_answer(pending, self.step))

    def end_pause(self) -> None:
        """End a pause; does nothing without one."""
        if self._paused_at is not None:
            self._paused_seconds, self._paused_at = self.paused_seconds, None
            self._records.enter("training")

    def refuse_pending(self) -> None:
        """Refuse the commands that arrived too late."""
        for command in self._log.read():
            self.answer(command, "the training has ended", accepted=False)

    def _report_bad_lines(self) -> None:
        """Report lines that are not commands; one with an id is refused, as its sender waits for
        the answer."""
        for line in self._log.take_bad():
            if line.id is None:
                self._records.event("warning", line.message)
            else:
                detail = {"command": line.command, "accepted": False}
                self._records.event("command", line.message, id=line.id, detail=detail)

    def _check(self, command: Command) -> PendingCommand | None:
        if command.command not in self._supported:
            self.answer(command, _UNSUPPORTED[command.command], accepted=False)
            return None
        if command.command != "set-lr":
            return PendingCommand(command.command, None, command, self)
        given = command.arguments.get("learning_rate")
        rate = usable_rate(given)
        if rate is None:
            reason = f"learning rate {shown(given)} is not a number above 0"
            self.answer(command, reason, accepted=False)
            return None
        return PendingCommand("set-lr", rate, command, self)

    def _pause(self, pending: PendingCommand) -> None:
        step = formats.count(self.step)
        if self._paused_at is None:
            self._paused_at = time.monotonic()
            self._records.enter("paused", f"paused at step {step}")
            pending.done(f"paused at step {step}")
        else:
            pending.done(f"already paused at step {step}")

    def _resume(self, pending: PendingCommand) -> None:
        was_paused = self.paused
        self.end_pause()
        resumed = f"resumed after step {formats.count(self.step)}"
        pending.done(resumed if was_paused else "the run is not paused")


def _default_answer(pending: PendingCommand, step: int) -> str:
    at = formats.count(step)
    if pending.name == "checkpoint":
        return f"checkpoint saved at step {at}"
    if pending.name == "stop":
        return f"saved at step {at}; stopping"
    if pending.name == "cancel":
        return f"cancelled at step {at}"
    rate = formats.rate(pending.learning_rate)
    return f"learning rate {rate} from step {formats.count(step + 1)} on"
