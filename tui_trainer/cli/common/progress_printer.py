"""Prints the progress of a run without a screen."""

from __future__ import annotations

import shutil
import time
from typing import Protocol

import click

from tui_trainer.cli.common import output
from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.runs.run import ENDED_STATES, Event, RunState
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.launch.follow_run import Update
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

_PLAIN_SECONDS = 5.0  # between progress lines that cannot be rewritten
BAD_INPUT = 2
_LIVE_SECONDS = 0.1  # between updates of one line


class ProgressPrinter(Protocol):
    """Prints a run from its start to its end."""

    def begin(self) -> None:
        """Called when the engine was started."""

    def show(self, updates: tuple[Update, ...]) -> None:
        """Print updates, often none."""

    def notice(self, text: str) -> None:
        """Print a message of the command itself."""

    def end(self, end: EngineEnd) -> None:
        """Called when the engine has ended."""


class JsonProgress:
    """Prints metric and event records as they come, and a last record of kind `end`."""

    def begin(self) -> None:
        """Print nothing: the first record comes from the run."""

    def show(self, updates: tuple[Update, ...]) -> None:
        """Print a line per record; changes of the state come as events."""
        for update in updates:
            if not isinstance(update, RunState):
                output.record(update)

    def notice(self, text: str) -> None:
        """Print to standard error."""
        output.message(text)

    def end(self, end: EngineEnd) -> None:
        """Print the last record."""
        output.record(
            {
                "kind": "end",
                "state": end.status,
                "path": str(end.path),
                "message": end.message,
                "exit_status": end.exit_status,
                "refused": end.refused,
                "log": end.log,
            }
        )


class TextProgress:
    """Prints a progress line to standard error: updated in place on a terminal, else a new line
    every few seconds."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._live = output.can_rewrite_line()
        self._interval = _LIVE_SECONDS if self._live else _PLAIN_SECONDS
        self._state: RunState | None = None
        self._train: TrainRecord | None = None
        self._eval: EvalRecord | None = None
        self._shown = ""
        self._next = 0.0

    def begin(self) -> None:
        """Print the run's folder."""
        output.message(f"run {formats.escape(str(self._folder.path))}")

    def show(self, updates: tuple[Update, ...]) -> None:
        """Print events as lines of their own, everything else in the progress line."""
        for update in updates:
            if isinstance(update, TrainRecord):
                self._train = update
            elif isinstance(update, EvalRecord):
                self._eval = update
            elif isinstance(update, RunState):
                self._state = update
            elif update.kind != "state":
                self.notice(_event_line(update))
        if time.monotonic() >= self._next:
            self._draw()

    def notice(self, text: str) -> None:
        """Print a line above the progress line."""
        self._clear()
        output.message(text)

    def end(self, end: EngineEnd) -> None:
        """Print how the run ended, or how to resume it."""
        if self._train is not None:
            self._draw()
        if self._live and self._shown:
            output.message("")
        if end.refused:
            output.message(f"not resumed: {formats.escape(end.message)}")
        elif end.message.startswith(end.status):
            output.message(formats.escape(end.message))
        else:
            output.message(f"{end.status}: {formats.escape(end.message)}")
        # For bad input the message is complete; for other errors the log helps.
        for line in () if end.exit_status == BAD_INPUT else end.log:
            output.message(f"  | {formats.escape(line)}")
        if end.refused:
            return
        if end.status in ("cancelled", "crashed") and "tui-trainer resume" not in end.message:
            output.message(
                f"resume it with: tui-trainer resume {formats.escape(str(self._folder.path))}"
            )

    def _draw(self) -> None:
        text = progress_line(self._state, self._train, self._eval)
        if not text or text == self._shown:
            return
        self._shown = text
        self._next = time.monotonic() + self._interval
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{text[:width]}", err=True, nl=False)
        else:
            output.message(text)

    def _clear(self) -> None:
        if self._live and self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._shown = ""
            self._next = 0.0


def progress_line(
    state: RunState | None, train: TrainRecord | None, evaluation: EvalRecord | None
) -> str:
    """State, step of total, remaining time, losses, rate and speed, as far as they are known."""
    if state is None:
        return ""
    state_name = "" if state.state in ("training", *ENDED_STATES) else state.state
    if train is None:
        return f"{state_name}  {formats.escape(state.message)}".rstrip() if state_name else ""
    # The least important part is last: a narrow terminal cuts it off.
    parts = [
        state_name,
        f"step {formats.steps(train.step, state.total_steps)}",
        f"{formats.duration(state.eta_seconds)} remaining" if state.eta_seconds is not None else "",
        f"loss {formats.number(train.loss)}",
        f"val_loss {formats.number(evaluation.val_loss)}" if evaluation else "",
        f"lr {formats.rate(train.learning_rate)}",
        f"{formats.number(state.tokens_per_second)} tok/s" if state.tokens_per_second else "",
    ]
    return "  ".join(part for part in parts if part)


def _event_line(event: Event) -> str:
    prefix = f"{event.kind}: " if event.kind in ("warning", "error") else ""
    return f"{formats.clock(event.time)} {prefix}{formats.escape(event.message or event.kind)}"
