"""One field of the form: its name, its value, and beside it what it means or what is wrong."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Select, Static

from tui_trainer.tui.charts.text import clean
from tui_trainer.tui.formfields import Field


class FormRow(Horizontal):
    """A text field, or a choice where only a few values can be."""

    class Edited(Message):
        """The value changed."""

    def __init__(self, field: Field, value: str) -> None:
        super().__init__(classes="form-row")
        self.field = field
        self._first = value
        self._said: str | None = None

    def compose(self) -> ComposeResult:
        yield Static(self.field.label, classes="label", markup=False)
        if self.field.choices:
            first = self._first if self._first in self.field.choices else self.field.default
            options = [(choice, choice) for choice in self.field.choices]
            yield Select(options, value=first, allow_blank=False, compact=True, classes="value")
        else:
            yield Input(self._first, placeholder=self.field.default, compact=True, classes="value")
        yield Static(self.field.description, classes="hint", markup=False)

    @property
    def text(self) -> str:
        """The value as typed."""
        if self.field.choices:
            return str(self.query_one(Select).value)
        return self.query_one(Input).value

    def say(self, error: str | None) -> None:
        """Shows what is wrong, or the description again."""
        if error == self._said:
            return
        self._said = error
        hint = self.query_one(".hint", Static)
        hint.set_class(error is not None, "-wrong")
        hint.update(Content(clean(error or self.field.description)))

    @on(Input.Changed)
    @on(Select.Changed)
    def _edited(self, message: Message) -> None:
        message.stop()
        self.post_message(self.Edited())

    @on(Input.Submitted)
    def _go_on(self, message: Input.Submitted) -> None:
        message.stop()
        self.screen.focus_next()
