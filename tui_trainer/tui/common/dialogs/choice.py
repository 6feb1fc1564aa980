"""A dialog with a question and a few answers, each with a key."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Button

from tui_trainer.tui import keymap
from tui_trainer.tui.common.dialogs.dialog import Dialog
from tui_trainer.tui.common.wrapped_text import WrappedText


@dataclass(frozen=True)
class ChoiceOption:
    """One answer; `key` as Textual names it."""

    id: str
    key: str
    label: str


class ChoiceDialog(Dialog[str]):
    """Returns the id of the chosen option, or None where the dialog was closed."""

    def __init__(self, question: str, options: tuple[ChoiceOption, ...]) -> None:
        super().__init__()
        self._question = question
        self._options = options

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield WrappedText(self._question, classes="question")
            for option in self._options:
                key = Content.styled(f"{keymap.display(option.key):>4}  ", "bold")
                label = Content.assemble(key, option.label)
                yield Button(label, id=option.id, compact=True)

    def on_key(self, event: events.Key) -> None:
        for option in self._options:
            if event.key == option.key:
                event.stop()
                self.dismiss(option.id)
                return
        if event.key in ("j", "down"):
            self.focus_next()
        elif event.key in ("k", "up"):
            self.focus_previous()
        elif event.key == "escape":
            event.stop()  # or the screen below would handle it as well
            self.dismiss(None)

    @on(Button.Pressed)
    def _chosen(self, message: Button.Pressed) -> None:
        self.dismiss(message.button.id)
