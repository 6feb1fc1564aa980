"""Functions of a loop that carry out commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tui_trainer.contracts.run import CommandName
from tui_trainer.writer.command_listener import PendingCommands


@dataclass(frozen=True)
class Callbacks:
    """What a loop gave to `RunWriter.control`."""

    checkpoint: Callable[[], object] | None = None
    learning_rate: Callable[[float], object] | None = None
    stop: Callable[[], object] | None = None
    cancel: Callable[[], object] | None = None

    @property
    def names(self) -> tuple[CommandName, ...]:
        """The commands that there is a function for."""
        given: dict[CommandName, object] = {
            "checkpoint": self.checkpoint,
            "set-lr": self.learning_rate,
            "stop": self.stop,
            "cancel": self.cancel,
        }
        return tuple(name for name, function in given.items() if function is not None)

    def carry_out(self, asked: PendingCommands) -> None:
        """Calls the function and answers; one that raises has refused, in its words."""
        try:
            said = self._call(asked)
        except Exception as error:  # the loop's own function; the training goes on without it
            words = str(error).strip() or "no message"
            asked.refuse(f"{asked.name} failed: {type(error).__name__}: {words}")
        else:
            saves = self.stop is not None or self.checkpoint is not None
            asked.done(said if isinstance(said, str) else "", saved=saves)

    def _call(self, asked: PendingCommands) -> object:
        if asked.name == "checkpoint" and self.checkpoint is not None:
            return self.checkpoint()
        if asked.name == "set-lr" and self.learning_rate and asked.learning_rate is not None:
            return self.learning_rate(asked.learning_rate)
        if asked.name == "cancel":
            return self.cancel() if self.cancel is not None else None
        save = self.stop or self.checkpoint
        if save is not None:
            return save()
        return f"stopping after step {asked.step}; the loop saves nothing on request"
