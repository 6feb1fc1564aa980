"""What the small windows above a screen share."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual import events
from textual.screen import ModalScreen

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer], Generic[Answer]):
    """A window in the middle; a click beside it closes it, as Esc does."""

    CSS_PATH = "dialog.tcss"

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss(None)
