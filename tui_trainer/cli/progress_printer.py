"""What a run without a screen prints while it trains."""

from __future__ import annotations

import shutil
import time
from typing import Protocol

import click

from tui_trainer.cli import output
from tui_trainer.contracts.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.run import ENDED_STATES, Event, RunState
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.launch.follow_run import Update
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

_PLAIN_SECONDS = 5.0  # between progress lines that cannot be rewritten
BAD_INPUT = 2
_LIVE_SECONDS = 0.1  # between rewritings


class ProgressPrinter(Protocol):
    """Shows a run from its beginning to its end."""

    def begin(self) -> None:
        """The engine was started."""

    def show(self, updates: tuple[Update, ...]) -> None:
        """What is new; often nothing."""

    def notice(self, text: str) -> None:
        """Words of the command line's own."""

    def end(self, end: EngineEnd) -> None:
        """The engine has ended."""


class JsonProgress:
    """Metric and event records as they come, and a last record of kind `end`."""

    def begin(self) -> None:
        """Prints nothing: the first record comes from the run."""

    def show(self, updates: tuple[Update, ...]) -> None:
        """A line per record; the state's news come as events."""
        for update in updates:
            if not isinstance(update, RunState):
                output.record(update)

    def notice(self, text: str) -> None:
        """Words go to standard error."""
        output.say(text)

    def end(self, end: EngineEnd) -> None:
        """The last record."""
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
    """A progress line on standard error: rewritten on a terminal, else one now and then."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._live = output.is_live_line()
        self._interval = _LIVE_SECONDS if self._live else _PLAIN_SECONDS
        self._state: RunState | None = None
        self._train: TrainRecord | None = None
        self._eval: EvalRecord | None = None
        self._shown = ""
        self._next = 0.0

    def begin(self) -> None:
        """Says which run it is."""
        output.say(f"run {formats.escape(str(self._folder.path))}")

    def show(self, updates: tuple[Update, ...]) -> None:
        """Events as lines of their own, everything else in the progress line."""
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
        """A line above the progress line."""
        self._clear()
        output.say(text)

    def end(self, end: EngineEnd) -> None:
        """How it ended (the run says where its adapter lies), or how to go on."""
        if self._train is not None:
            self._draw()
        if self._live and self._shown:
            output.say("")
        if end.refused:
            output.say(f"not resumed: {formats.escape(end.message)}")
        elif end.message.startswith(end.status):
            output.say(formats.escape(end.message))
        else:
            output.say(f"{end.status}: {formats.escape(end.message)}")
        # Bad input is told whole by the message; only where more went wrong does the log help.
        for line in () if end.exit_status == BAD_INPUT else end.log:
            output.say(f"  | {formats.escape(line)}")
        if end.refused:
            return
        if end.status in ("cancelled", "crashed") and "tui-trainer resume" not in end.message:
            output.say(f"go on with: tui-trainer resume {formats.escape(str(self._folder.path))}")

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
            output.say(text)

    def _clear(self) -> None:
        if self._live and self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._shown = ""
            self._next = 0.0


def progress_line(
    state: RunState | None, train: TrainRecord | None, evaluation: EvalRecord | None
) -> str:
    """State, step of total, time left, losses, rate and speed, as far as they are known."""
    if state is None:
        return ""
    word = "" if state.state in ("training", *ENDED_STATES) else state.state
    if train is None:
        return f"{word}  {formats.escape(state.message)}".rstrip() if word else ""
    total = f"/{state.total_steps:,}" if state.total_steps else ""
    # What matters least stands last: a narrow terminal cuts it off.
    parts = [
        word,
        f"step {train.step:,}{total}",
        f"{formats.duration(state.eta_seconds)} left" if state.eta_seconds is not None else "",
        f"loss {formats.number(train.loss)}",
        f"val_loss {formats.number(evaluation.val_loss)}" if evaluation else "",
        f"lr {formats.rate(train.learning_rate)}",
        f"{formats.number(state.tokens_per_second)} tok/s" if state.tokens_per_second else "",
    ]
    return "  ".join(part for part in parts if part)


def _event_line(event: Event) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    prefix = f"{event.kind}: " if event.kind in ("warning", "error") else ""
    return f"{clock} {prefix}{formats.escape(event.message or event.kind)}"
