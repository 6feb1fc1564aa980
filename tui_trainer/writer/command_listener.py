"""Commands for somebody else's loop: what it obeys, what it refuses in words."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from tui_trainer.contracts.run import COMMANDS, Command, CommandName
from tui_trainer.store.runs.command_arguments import shown, usable_rate
from tui_trainer.store.runs.command_log import CommandLog
from tui_trainer.writer.run_files import RunFiles

_WANTS = {
    "pause": "wait",
    "resume": "wait",
    "checkpoint": "save on request",
    "stop": "save and stop on request",
    "cancel": "stop on request",
    "set-lr": "change its learning rate on request",
    "apply": "take advice: it has no advisor of its own",
    "rollback": "take advice: it has no advisor of its own",
    "mute": "hear advice: it has no advisor of its own",
}


@dataclass
class PendingCommands:
    """One command for the loop. Answer it with `done` or `refuse`; the first answer counts.

    `learning_rate` is set for `set-lr`, a finite number above 0.
    """

    name: CommandName
    learning_rate: float | None
    _command: Command = field(repr=False)
    _listener: CommandListener = field(repr=False)
    answered: bool = field(default=False, init=False)

    def done(self, message: str = "", *, saved: bool = True) -> None:
        """The loop has done it, in words for whoever asked; a stop may not have `saved`."""
        if not self.answered:
            self.answered = True
            self._listener.obeyed(self, message, saved=saved)

    def refuse(self, reason: str) -> None:
        """The loop does not do it, for a reason in words."""
        if not self.answered:
            self.answered = True
            self._listener.answer(self._command, reason, accepted=False)

    @property
    def step(self) -> int:
        """The last finished step."""
        return self._listener.step

    @property
    def command(self) -> Command:
        """As it stands in `control.jsonl`."""
        return self._command


class CommandListener:
    """Takes a run's commands between two steps. Pause and resume are its own."""

    def __init__(self, records: RunFiles) -> None:
        self._records = records
        self._inbox = CommandLog(records.folder)
        self._supported: frozenset[CommandName] = frozenset()
        self._paused_at: float | None = None
        self._waited = 0.0
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
    def waited(self) -> float:
        """Seconds of pause so far."""
        now = 0.0 if self._paused_at is None else time.monotonic() - self._paused_at
        return self._waited + now

    def supports(self, *names: CommandName) -> None:
        """The loop obeys these too from now on; others see it in `state.json`."""
        wanted = self._supported | set(names)
        if wanted != self._supported:
            self._supported = wanted
            self._records.update(commands=tuple(name for name in COMMANDS if name in wanted))
            self._records.write_state()

    def take(self) -> list[PendingCommands]:
        """Commands that the loop must answer, in order; others are answered here."""
        found = []
        commands = self._inbox.read()
        self._report_bad_lines()
        for command in commands:
            asked = self._check(command)
            if asked is None:
                continue
            if asked.name == "pause":
                self._pause(asked)
            elif asked.name == "resume":
                self._resume(asked)
            else:
                found.append(asked)
        return found

    def answer(self, command: Command, message: str, *, accepted: bool = True) -> None:
        """Writes the event that acknowledges a command."""
        detail = {"command": command.command, "accepted": accepted}
        self._records.event("command", message, id=command.id, detail=detail)

    def obeyed(self, asked: PendingCommands, message: str, *, saved: bool) -> None:
        """Records what the loop has done."""
        if asked.name == "set-lr":
            rate = asked.learning_rate
            # First the fact, then the answer, as the engine does.
            self._records.event(
                "learning_rate", f"learning rate set to {rate:.4g}", detail={"learning_rate": rate}
            )
        elif asked.name == "stop" or asked.name == "cancel":
            self.ending, self.saved = asked.name, saved and asked.name == "stop"
            self.go_on()
        self.answer(asked.command, message or _words(asked, self.step))

    def go_on(self) -> None:
        """Ends a pause."""
        if self._paused_at is not None:
            self._waited, self._paused_at = self.waited, None
            self._records.enter("training")

    def refuse_waiting(self) -> None:
        """Answers what nobody will obey any more."""
        for command in self._inbox.read():
            self.answer(command, "the training has ended", accepted=False)

    def _report_bad_lines(self) -> None:
        """Notes lines that are no commands; one that names itself is refused, since its sender
        waits for an answer."""
        for line in self._inbox.take_bad():
            if line.id is None:
                self._records.event("warning", line.message)
            else:
                detail = {"command": line.command, "accepted": False}
                self._records.event("command", line.message, id=line.id, detail=detail)

    def _check(self, command: Command) -> PendingCommands | None:
        if command.command not in self._supported:
            reason = f"this training loop does not {_WANTS[command.command]}"
            self.answer(command, reason, accepted=False)
            return None
        if command.command != "set-lr":
            return PendingCommands(command.command, None, command, self)
        given = command.arguments.get("learning_rate")
        rate = usable_rate(given)
        if rate is None:
            reason = f"learning rate {shown(given)} is not a number above 0"
            self.answer(command, reason, accepted=False)
            return None
        return PendingCommands("set-lr", rate, command, self)

    def _pause(self, asked: PendingCommands) -> None:
        step = self.step
        if self._paused_at is None:
            self._paused_at = time.monotonic()
            self._records.enter("paused", f"paused at step {step}")
            asked.done(f"paused at step {step}")
        else:
            asked.done(f"already paused at step {step}")

    def _resume(self, asked: PendingCommands) -> None:
        was_paused = self.paused
        self.go_on()
        again = f"training again after step {self.step}"
        asked.done(again if was_paused else "not paused: training goes on")


def _words(asked: PendingCommands, step: int) -> str:
    if asked.name == "checkpoint":
        return f"a checkpoint is saved at step {step}"
    if asked.name == "stop":
        return f"saved at step {step}; stopping"
    if asked.name == "cancel":
        return f"cancelled at step {step}"
    return f"learning rate {asked.learning_rate:.4g} from step {step + 1} on"
