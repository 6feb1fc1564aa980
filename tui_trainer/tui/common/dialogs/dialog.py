"""What the small windows above a screen share."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer], Generic[Answer]):
    """A window in the middle; a click beside it closes it, as Esc does."""

    # Textual would look for a relative path beside the module of each subclass.
    CSS_PATH: ClassVar[str | Path] = Path(__file__).with_name("dialog.tcss")

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss(None)


class FullDialog(Dialog[None]):
    """A window to read in: its text scrolls, and Esc or `q` closes it."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "dismiss(None)", "close", show=False),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "VerticalScroll"

    @property
    def text_width(self) -> int:
        """Cells that a line of the text has."""
        return max(20, self.query_one(VerticalScroll).scrollable_content_region.width)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
