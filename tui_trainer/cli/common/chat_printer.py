"""Prints a chat session: answers and tables to standard output, messages to standard error."""

from __future__ import annotations

import abc
import threading
from collections.abc import Callable
from typing import Protocol

import click

from tui_trainer.cli.common import output
from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.teaching.training import TrainingRecord
from tui_trainer.repl.tables import announcement
from tui_trainer.text import formats

PROMPT = "> "


class ChatPrinter(Protocol):
    """Prints the events of a session; may be called from any thread."""

    output_error: OSError | None
    """The error after which nothing more can be printed, or None."""

    request: events.EditRequest | None
    """The editor that a command requested, or None."""

    def __call__(self, event: events.Event) -> None:
        """Print one event."""

    def echo(self, line: str) -> None:
        """Print an input line, where the terminal does not show it."""


class _Base(abc.ABC):
    def __init__(self) -> None:
        self.output_error: OSError | None = None
        self.request: events.EditRequest | None = None
        self._lock = threading.RLock()

    def __call__(self, event: events.Event) -> None:
        with self._lock:
            if isinstance(event, events.EditRequest):
                self.request = event
            self._guarded(lambda: self._show(event))

    def _guarded(self, show: Callable[[], None]) -> None:
        # The trainer's thread prints too, and must survive a closed output.
        try:
            show()
        except OSError as error:
            self.output_error = error

    @abc.abstractmethod
    def _show(self, event: events.Event) -> None: ...


class JsonPrinter(_Base):
    """Prints one JSON record per event."""

    def echo(self, line: str) -> None:
        """Print nothing, as an answer's record holds its question."""

    def _show(self, event: events.Event) -> None:
        output.record(event)


class TextPrinter(_Base):
    """Prints text. Messages are held back while an answer streams, and printed above the prompt
    while the user types."""

    def __init__(self, *, interactive: bool, typed: Callable[[], str] = lambda: "") -> None:
        """`typed` returns the current input line of a terminal."""
        super().__init__()
        self._interactive = interactive
        self._typed = typed
        self._streaming = False
        self._held_back: list[str] = []
        self._states: dict[str, str] = {}
        self._buffer: tuple[int, float] = (0, 0.0)
        self._live: dict[str, float] = {}
        self.prompting = False
        """Whether the prompt is shown."""

    def echo(self, line: str) -> None:
        """Print the line with a prompt, so that the output of a pipe reads like a session."""
        if not self._interactive:
            self._guarded(lambda: output.data(PROMPT + formats.escape(line)))

    def _show(self, event: events.Event) -> None:
        if isinstance(event, events.Token):
            self._streaming = True
            click.echo(formats.escape_lines(event.text), nl=False)
            output.flush()
            return
        if isinstance(event, events.Answered | events.Revision | events.SessionError):
            self._end_stream(event)
        if isinstance(event, events.AdaptersActivated):
            before, self._live = self._live, event.adapters
            if before == event.adapters:
                return
        for line in message_lines(event, self._has_changed):
            self._print_message(line)
        for line in result_lines(event):
            output.data(line)

    def _end_stream(self, event: events.Answered | events.Revision | events.SessionError) -> None:
        if self._streaming:
            output.data("")
        elif isinstance(event, events.Answered):
            output.data(formats.escape_lines(event.response))
        elif isinstance(event, events.Revision):
            output.data(formats.escape_lines(event.text))
        self._streaming = False
        for line in self._held_back:
            output.message(line)
        self._held_back.clear()

    def _print_message(self, line: str) -> None:
        if self._streaming:
            self._held_back.append(line)
        elif self.prompting:
            click.echo(
                f"\r\x1b[K{line}\n{PROMPT}{formats.escape(self._typed())}", err=True, nl=False
            )
        else:
            output.message(line)

    def _has_changed(self, event: events.TrainingStatus | events.BufferStatus) -> bool:
        """Whether the state of a training or the buffer has changed."""
        if isinstance(event, events.BufferStatus):
            before, self._buffer = self._buffer, (event.count, event.weight)
            return self._buffer != before and event.count > 0
        before_state = self._states.get(event.record.id)
        self._states[event.record.id] = event.record.state
        return event.record.state != before_state


def message_lines(
    event: events.Event, has_changed: Callable[[events.TrainingStatus | events.BufferStatus], bool]
) -> list[str]:
    """The messages about an event, for standard error."""
    match event:
        case events.SessionError(text=text):
            lines = [f"error: {text}"]
        case events.SessionNotice(text=text):
            lines = [text]
        case events.Confirm(text=text):
            lines = [f"{text} (/yes confirms)"]
        case events.Flagged(found=found):
            lines = [
                f"not stored, because it looks like a secret ({', '.join(found)}); /keep stores it "
                "anyway"
            ]
        case events.Answered(cancelled=True):
            lines = ["the answer was cancelled"]
        case events.Answered(tokens=tokens, seconds=seconds) if tokens and seconds:
            lines = [f"{formats.plural(tokens, 'token')}, {token_rate(tokens, seconds)}"]
        case events.Revision():
            lines = ["/accept stores this as the right answer, /reject discards it"]
        case events.AdaptersActivated(adapters=adapters):
            single = list(adapters.values()) == [1.0]
            names = [
                name if single else f"{name}={formats.short_number(weight)}"
                for name, weight in adapters.items()
            ]
            lines = [f"active: {' '.join(names)}" if names else "no adapter is active"]
        case events.TrainingStatus(record=record) if has_changed(event):
            lines = [_training_line(record)]
        case events.BufferStatus() if has_changed(event):
            lines = [buffer_line(event)]
        case _:
            lines = []
    return [formats.escape(line) for line in lines]


def result_lines(event: events.Event) -> list[str]:
    """The result of a command, for standard output."""
    match event:
        case events.Rated():
            lines = [formats.escape(rated_line(event))]
        case events.NeedsCorrection():
            lines = ["it is taught only with a correction: /fix TEXT"]
        case events.TextTable(headers=headers, rows=rows) if headers:
            lines = [output.table(headers, rows)]
        case events.TextTable(rows=rows):
            lines = [output.pairs([(row[0], row[1]) for row in rows])]
        case _:
            lines = []
    return lines


def rated_line(event: events.Rated) -> str:
    """A stored rating as a sentence."""
    now = "now " if event.replaced else ""
    weight = formats.short_number(event.weight)
    text = f"feedback {event.number} is {now}{event.rating} (weight {weight})"
    return text if event.taught is None else f"{text}, right answer: {event.taught}"


def token_rate(tokens: int, seconds: float) -> str:
    """Such as 43.1 tokens/s."""
    return f"{formats.short_number(tokens / seconds)} tokens/s"


def buffer_line(event: events.BufferStatus) -> str:
    """The state of the buffer as a sentence."""
    text = formats.plural(event.count, "example")
    if event.threshold:
        text = f"{formats.count(event.count)} of {formats.plural(event.threshold, 'example')}"
    text += " pending"
    if event.weight_threshold:
        weight = formats.short_number(event.weight)
        text += f", weight {weight} of {formats.short_number(event.weight_threshold)}"
    if event.needs_correction:
        text += f"; {formats.plural(event.needs_correction, 'needs', 'need')} a correction"
    return text


def _training_line(record: TrainingRecord) -> str:
    message = f": {record.message}" if record.message else ""
    if record.state in ("queued", "training"):
        message = f": {announcement(record)}"
    return f"training {record.id} {record.state}{message}"
