"""The functions of a training loop that execute commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tui_trainer.contracts.runs.run import CommandName
from tui_trainer.text import formats
from tui_trainer.writer.command_listener import PendingCommand


@dataclass(frozen=True)
class Callbacks:
    """The functions given to `RunWriter.control`. A returned string is the command's answer."""

    checkpoint: Callable[[], object] | None = None  # saves a checkpoint
    learning_rate: Callable[[float], object] | None = None  # sets the learning rate
    stop: Callable[[], object] | None = None  # saves before the loop stops
    cancel: Callable[[], object] | None = None  # called before the loop stops without saving

    @property
    def names(self) -> tuple[CommandName, ...]:
        """The commands that have a function."""
        given: dict[CommandName, object] = {
            "checkpoint": self.checkpoint,
            "set-lr": self.learning_rate,
            "stop": self.stop,
            "cancel": self.cancel,
        }
        return tuple(name for name, function in given.items() if function is not None)

    def execute(self, command: PendingCommand) -> None:
        """Call the command's function and answer; a function that raises refuses the command."""
        try:
            returned = self._call(command)
        except Exception as error:  # of the loop's own function; must not end the training
            message = str(error).strip() or "no message"
            command.refuse(f"{command.name} failed: {type(error).__name__}: {message}")
        else:
            saves = self.stop is not None or self.checkpoint is not None
            command.done(returned if isinstance(returned, str) else "", saved=saves)

    def _call(self, command: PendingCommand) -> object:
        if command.name == "checkpoint" and self.checkpoint is not None:
            return self.checkpoint()
        if command.name == "set-lr" and self.learning_rate and command.learning_rate is not None:
            return self.learning_rate(command.learning_rate)
        if command.name == "cancel":
            return self.cancel() if self.cancel is not None else None
        save = self.stop or self.checkpoint
        if save is not None:
            return save()
        step = formats.count(command.step)
        return f"stopping after step {step} without saving: this training loop cannot save"
