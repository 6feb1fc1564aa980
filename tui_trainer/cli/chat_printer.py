"""A chat session as lines: what was said on standard output, words about it on standard error."""

from __future__ import annotations

import abc
import threading
from collections.abc import Callable
from typing import Protocol

import click

from tui_trainer.cli import output
from tui_trainer.contracts import session as events
from tui_trainer.contracts.teaching import TrainingRecord
from tui_trainer.text import formats

PROMPT = "> "


class ChatPrinter(Protocol):
    """Shows the events of a session, from any thread."""

    lost: OSError | None
    """Why nothing can be printed any more."""

    request: events.EditRequest | None
    """The editor that was asked for."""

    def __call__(self, event: events.Event) -> None:
        """Shows one event."""

    def echo(self, line: str) -> None:
        """Shows what was asked, where the terminal has not."""


class _Base(abc.ABC):
    def __init__(self) -> None:
        self.lost: OSError | None = None
        self.request: events.EditRequest | None = None
        self._lock = threading.RLock()

    def __call__(self, event: events.Event) -> None:
        with self._lock:
            if isinstance(event, events.EditRequest):
                self.request = event
            self._guarded(lambda: self._show(event))

    def _guarded(self, show: Callable[[], None]) -> None:
        # The teacher's thread prints too: it must not die of a reader that has left.
        try:
            show()
        except OSError as error:
            self.lost = error

    @abc.abstractmethod
    def _show(self, event: events.Event) -> None: ...


class JsonPrinter(_Base):
    """One record per event."""

    def echo(self, line: str) -> None:
        """Nothing: an answer repeats its query."""

    def _show(self, event: events.Event) -> None:
        output.record(event)


class TextPrinter(_Base):
    """Text. While an answer streams or the user types, other words wait or step aside."""

    def __init__(self, *, interactive: bool, typed: Callable[[], str] = lambda: "") -> None:
        """`typed` gives what stands in the input line of a terminal."""
        super().__init__()
        self._interactive = interactive
        self._typed = typed
        self._streaming = False
        self._waiting: list[str] = []
        self._states: dict[str, str] = {}
        self._buffer: tuple[int, float] = (0, 0.0)
        self._live: dict[str, float] = {}
        self.prompting = False
        """Whether the user is at the prompt."""

    def echo(self, line: str) -> None:
        """The line behind a prompt, so that a transcript reads like a session."""
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
        for line in told(event, self._is_news):
            self._say(line)
        for line in shown(event):
            output.data(line)

    def _end_stream(self, event: events.Answered | events.Revision | events.SessionError) -> None:
        if self._streaming:
            output.data("")
        elif isinstance(event, events.Answered):
            output.data(formats.escape_lines(event.response))
        elif isinstance(event, events.Revision):
            output.data(formats.escape_lines(event.text))
        self._streaming = False
        for line in self._waiting:
            output.say(line)
        self._waiting.clear()

    def _say(self, line: str) -> None:
        if self._streaming:
            self._waiting.append(line)
        elif self.prompting:
            click.echo(
                f"\r\x1b[K{line}\n{PROMPT}{formats.escape(self._typed())}", err=True, nl=False
            )
        else:
            output.say(line)

    def _is_news(self, event: events.TrainingStatus | events.BufferStatus) -> bool:
        """Whether the state of a training or the filling of the buffer is another one."""
        if isinstance(event, events.BufferStatus):
            before, self._buffer = self._buffer, (event.count, event.weight)
            return self._buffer != before and event.count > 0
        before_state = self._states.get(event.record.id)
        self._states[event.record.id] = event.record.state
        return event.record.state != before_state


def told(
    event: events.Event, is_news: Callable[[events.TrainingStatus | events.BufferStatus], bool]
) -> list[str]:
    """The words about an event, for standard error."""
    match event:
        case events.SessionError(text=text):
            lines = [f"error: {text}"]
        case events.SessionNotice(text=text):
            lines = [text]
        case events.Confirm(text=text):
            lines = [f"{text} /yes does it"]
        case events.Flagged(found=found):
            lines = [
                f"that looks as if it held a secret ({', '.join(found)}), so nothing was stored; "
                "/keep stores it all the same"
            ]
        case events.Answered(cancelled=True):
            lines = ["the answer was cut off"]
        case events.Revision():
            lines = ["/accept takes this as the right answer, /reject leaves it"]
        case events.AdaptersActivated(adapters=adapters):
            mix = " ".join(f"{name}={weight:g}" for name, weight in adapters.items())
            single = len(adapters) == 1 and 1.0 in adapters.values()
            lines = [f"answers come from {(next(iter(adapters)) if single else mix) or 'the base'}"]
        case events.TrainingStatus(record=record) if is_news(event):
            lines = [_training_line(record)]
        case events.BufferStatus() if is_news(event):
            lines = [buffer_line(event)]
        case _:
            lines = []
    return [formats.escape(line) for line in lines]


def shown(event: events.Event) -> list[str]:
    """What was asked for, for standard output."""
    match event:
        case events.Rated():
            lines = [formats.escape(rated_line(event))]
        case events.NeedsCorrection():
            lines = ["it needs a correction before it is taught: /fix TEXT"]
        case events.TextTable(headers=headers, rows=rows) if headers:
            lines = [output.table(headers, rows)]
        case events.TextTable(rows=rows):
            lines = [output.pairs([(row[0], row[1]) for row in rows])]
        case _:
            lines = []
    return lines


def rated_line(event: events.Rated) -> str:
    """A stored rating in words."""
    again = "now " if event.replaced else ""
    text = f"feedback {event.number} is {again}{event.rating} (weight {event.weight:g})"
    return text if event.taught is None else f"{text} and teaches: {event.taught}"


def buffer_line(event: events.BufferStatus) -> str:
    """How far the buffer is, in words."""
    count = f"{event.count} of {event.threshold}" if event.threshold else f"{event.count}"
    text = f"{count} examples until training" if event.threshold else f"{count} examples wait"
    if event.weight_threshold:
        text += f", weight {event.weight:g} of {event.weight_threshold:g}"
    if event.needs_correction:
        text += f"; {event.needs_correction} need a correction"
    return text


def _training_line(record: TrainingRecord) -> str:
    message = f": {record.message}" if record.message and record.state != "training" else ""
    return f"training {record.id} {record.state}{message}"
