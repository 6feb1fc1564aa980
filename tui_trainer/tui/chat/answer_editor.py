"""A dialog in which an answer is corrected."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static, TextArea

from tui_trainer.text.formats import clean
from tui_trainer.tui.common.dialogs.dialog import Dialog
from tui_trainer.tui.common.markup import shorten

_QUESTION = 300  # characters that are shown


class AnswerEditor(Dialog[str]):
    """Returns the new text, or None if it was cancelled or not changed."""

    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "cancel", show=False, priority=True),
        Binding("ctrl+s", "save", "save", show=False, priority=True),
    ]
    AUTO_FOCUS = "TextArea"

    def __init__(self, question: str, text: str) -> None:
        super().__init__()
        self._question = question
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -tall"):
            yield Static(
                shorten(clean(self._question), _QUESTION), markup=False, classes="question"
            )
            yield TextArea(self._text, id="text", soft_wrap=True, compact=True)
            yield Static("write the right answer to this question", markup=False, classes="hint")
            yield Static(
                Content.assemble(("ctrl+s ", "bold $accent"), "save   ", ("esc ", "bold $accent"),
                                 "cancel"),
                classes="keys",
            )  # fmt: skip

    def on_mount(self) -> None:
        area = self.query_one(TextArea)
        area.select_all()  # typing replaces the answer, an arrow key keeps it

    def action_save(self) -> None:
        # After the keys still queued for the text area, so that a pasted text is complete.
        self.query_one(TextArea).call_later(self._save)

    def _save(self) -> None:
        text = self.query_one(TextArea).text
        if not text.strip():
            hint = self.query_one(".hint", Static)
            hint.add_class("-wrong")
            hint.update("the answer is empty")
            return
        self.dismiss(text if text != self._text else None)
