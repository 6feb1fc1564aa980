"""A dialog with a list to choose one line from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from tui_trainer.tui.common.dialogs.dialog import Dialog
from tui_trainer.tui.common.wrapped_text import WrappedText


class PickDialog(Dialog[int]):
    """Returns the index of the chosen line, or None where the dialog was closed."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "dismiss(None)", "close", show=False),
        Binding("j", "move(1)", "down", show=False),
        Binding("k", "move(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "OptionList"

    def __init__(self, question: str, lines: Sequence[Content], verb: str) -> None:
        super().__init__()
        self._question = question
        self._lines = lines
        self._verb = verb

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield WrappedText(self._question, classes="question")
            yield OptionList(*self._lines, compact=True)
            yield Static(
                Content.assemble(("enter ", "bold $accent"), f"{self._verb}   ",
                                 ("esc ", "bold $accent"), "close"),
                classes="keys",
            )  # fmt: skip

    def action_move(self, step: int) -> None:
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(message.option_index)
