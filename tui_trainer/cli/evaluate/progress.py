"""Prints the progress of an evaluation to standard error, with the time left."""

from __future__ import annotations

import shutil
import time

import click

from tui_trainer.cli.common import output
from tui_trainer.contracts.evaluation import EvaluationProgress
from tui_trainer.text import formats

_PLAIN_SECONDS = 5.0  # between lines that cannot be rewritten
_LIVE_SECONDS = 0.1  # between updates of one line


class EvaluationPrinter:
    """One line that is rewritten on a terminal, else a new line every few seconds."""

    def __init__(self, name: str) -> None:
        """`name` is what is evaluated."""
        self._name = name
        self._live = output.can_rewrite_line()
        self._next = 0.0
        self._shown = False
        self.phase = ""  # the present one
        self._began = 0.0
        self._first = 0  # rows that were done when the phase began
        self.total = 0  # rows of the present phase

    def show(self, progress: EvaluationProgress) -> None:
        """Print where the evaluation is."""
        now = time.monotonic()
        if progress.phase != self.phase:
            self.phase, self._began, self._first = progress.phase, now, progress.done
            self._next = 0.0
        self.total = progress.total
        ended = bool(progress.total) and progress.done == progress.total
        if now < self._next and not (ended and self._live):
            return
        self._next = now + (_LIVE_SECONDS if self._live else _PLAIN_SECONDS)
        text = f"{formats.escape(self._name)}: {line(progress, self._first, now - self._began)}"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{text[:width]}", err=True, nl=False)
            self._shown = True
        else:
            output.message(text)

    def end(self) -> None:
        """Remove the line."""
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._shown = False


def line(progress: EvaluationProgress, first: int, seconds: float) -> str:
    """Phase, rows of all rows and time left; `first` rows were done `seconds` ago."""
    if not progress.total:
        return progress.phase
    parts = [f"{progress.phase} {formats.steps(progress.done, progress.total)}"]
    made = progress.done - first
    if made > 0 and progress.done < progress.total:
        left = seconds / made * (progress.total - progress.done)
        parts.append(f"{formats.duration(left)} remaining")
    return "  ".join(parts)
