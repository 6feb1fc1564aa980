"""A dialog with one input line, checked while it is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from tui_trainer.tui.common.dialogs.dialog import Dialog
from tui_trainer.tui.common.wrapped_text import WrappedText


class PromptDialog(Dialog[str]):
    """Returns the text, or None where it was cancelled. `check` returns the problem of a text."""

    BINDINGS: ClassVar = [Binding("escape", "dismiss(None)", "close", show=False)]

    def __init__(
        self, title: str, value: str, hint: str, check: Callable[[str], str | None]
    ) -> None:
        super().__init__()
        self._title = title
        self._value = value
        self._hint = hint
        self._check = check

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield WrappedText(self._title, classes="question")
            yield Input(self._value, compact=True, id="answer")
            yield WrappedText(self._hint, classes="hint")
            yield Static(
                Content.assemble(("enter ", "bold $accent"), "confirm   ", ("esc ", "bold $accent"),
                                 "cancel"),
                classes="keys",
            )  # fmt: skip

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        problem = self._check(message.value)
        hint = self.query_one(".hint", WrappedText)
        hint.set_class(problem is not None, "-wrong")
        hint.update(Content(problem or self._hint))

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        if self._check(message.value) is None:
            self.dismiss(message.value)
