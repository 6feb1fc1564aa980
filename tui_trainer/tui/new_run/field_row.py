"""One field of the form: its name, its value, and its hint or error."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Select, Static

from tui_trainer.text.formats import clean
from tui_trainer.tui.common.markup import shorten
from tui_trainer.tui.common.wrapped_text import WrappedText
from tui_trainer.tui.new_run.fields import FormField


class FieldSelect(Select[str], inherit_bindings=False):
    """A choice whose list only enter opens; the arrow keys move between fields."""

    BINDINGS: ClassVar = [Binding("enter", "show_overlay", "choices", show=False)]


class OneLine(WrappedText):
    """Text of which one line shows the words that fit; the form shows it whole elsewhere."""

    def render(self) -> RenderResult:
        return Content(shorten(self._whole.plain, self.content_size.width))


class FieldRow(Horizontal):
    """A text field, or a choice if the setting has few values."""

    class Edited(Message):
        """The value changed."""

    def __init__(self, field: FormField, value: str) -> None:
        super().__init__(classes="form-row")
        self.field = field
        self._text = self._valid(value)
        self._error: str | None = None
        self._warning: str | None = None

    def compose(self) -> ComposeResult:
        yield Static(self.field.label, classes="label", markup=False)
        if self.field.choices:
            options = [(choice, choice) for choice in self.field.choices]
            yield FieldSelect(
                options, value=self._text, allow_blank=False, compact=True, classes="value"
            )
        else:
            yield Input(self._text, placeholder=self.field.default, compact=True, classes="value")
        yield OneLine(self.hint, classes="hint")

    @property
    def text(self) -> str:
        """The value as typed."""
        return self._text

    def put(self, value: str) -> None:
        """Replace the value."""
        self._text = self._valid(value)
        for control in self.query(".value"):  # none before it is mounted
            if isinstance(control, FieldSelect | Input):
                control.value = self._text

    def enter(self) -> None:
        """Focus this field."""
        for control in self.query(".value"):
            control.focus()

    def turn(self, step: int) -> None:
        """Select the choice `step` positions on, wrapping around."""
        choices = self.field.choices
        if choices:
            index = (choices.index(self._text) + step) % len(choices)
            self.query_one(FieldSelect).value = choices[index]

    @property
    def hint(self) -> str:
        """The error, the warning, or the field's description."""
        return clean(self._error or self._warning or self.field.description)

    def show_problem(self, error: str | None, warning: str | None = None) -> None:
        """Show the error or the warning in place of the description."""
        if (error, warning) == (self._error, self._warning):
            return
        self._error, self._warning = error, warning
        self.set_class(error is not None, "-wrong")
        self.set_class(error is None and warning is not None, "-warning")
        for hint in self.query(".hint").results(WrappedText):  # none before it is mounted
            hint.update(Content(self.hint))

    def _valid(self, value: str) -> str:
        choices = self.field.choices
        return self.field.default if choices and value not in choices else value

    @on(Input.Changed)
    @on(Select.Changed)
    def _edited(self, message: Input.Changed | Select.Changed) -> None:
        message.stop()
        self._text = str(message.value)
        self.post_message(self.Edited())

    @on(Input.Submitted)
    def _focus_next(self, message: Input.Submitted) -> None:
        message.stop()
        self.screen.focus_next()
