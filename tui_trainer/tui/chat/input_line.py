"""The line in which questions and commands are typed."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from tui_trainer.tui.chat.completion import InputHistory


class InputLine(Input):
    """An input that joins pasted lines and recalls earlier ones."""

    def __init__(self) -> None:
        super().__init__(
            placeholder="type a question, or / for a command",
            id="ask",
            compact=True,
            select_on_focus=False,
        )
        self._recall = InputHistory()
        self._recalled = ""

    def recall(self, lines: list[str], direction: int) -> None:
        """Show an earlier (-1) or later (1) line."""
        if self.value != self._recalled:
            self._recall.forget()
        self._recalled = self._recall.step(lines, self.value, direction)
        self.value = self._recalled
        self.cursor_position = len(self.value)

    def pop_text(self) -> str:
        """Return the typed text and clear the line."""
        text, self.value, self._recalled = self.value, "", ""
        self._recall.forget()
        return text

    def _on_paste(self, event: events.Paste) -> None:
        """Join the lines: Textual would keep the first one only."""
        event.stop()
        event.prevent_default()
        line = " ".join(part.strip() for part in event.text.splitlines() if part.strip())
        if line:
            self.replace(line, *self.selection)
