"""The filter line above a list; a mistake in its conditions is shown below it."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from tui_trainer.tui.common.markup import plain
from tui_trainer.tui.common.wrapped_text import WrappedText


class FilterLine(Vertical):
    """Hidden until it is opened."""

    class Changed(Message):
        """The text was changed."""

    class Done(Message):
        """Enter was pressed: the list gets the focus."""

    def __init__(self, hint: str) -> None:
        """`hint` is shown where nothing is typed."""
        super().__init__(id="filter-line")
        self._field = Input(placeholder=hint, id="filter", compact=True)
        self._problem = WrappedText(id="problem")
        self.add_class("-closed")
        self._problem.display = False

    def compose(self) -> ComposeResult:
        yield self._field
        yield self._problem

    @property
    def text(self) -> str:
        """What is typed."""
        return self._field.value

    @property
    def is_typed(self) -> bool:
        """Whether the next key goes into the line."""
        return self._field.has_focus

    def open(self) -> None:
        """Show the line, to be typed into."""
        self.remove_class("-closed")
        self.screen.set_focus(self._field)  # at once: `focus` lets keys pressed meanwhile pass

    def close(self) -> bool:
        """Clear the line and hide it; False if it is hidden."""
        if self.has_class("-closed"):
            return False
        self._field.value = ""
        self.add_class("-closed")
        return True

    def show_problem(self, problem: str | None) -> None:
        """Show what is wrong with the conditions; None if nothing is."""
        self._problem.display = problem is not None
        if problem is not None:
            self._problem.update(plain(problem))

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self.post_message(self.Changed())

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        message.stop()
        if not self.text.strip():
            self.add_class("-closed")
        self.post_message(self.Done())
