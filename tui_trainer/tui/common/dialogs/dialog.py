"""The base of the dialogs above a screen."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

Answer = TypeVar("Answer")
StylePaths = str | PurePath | list[str | PurePath] | None
# Absolute: Textual looks for a relative path beside each subclass.
STYLES = str(Path(__file__).with_name("dialog.tcss"))


class Dialog(ModalScreen[Answer], Generic[Answer]):
    """A centred dialog; a click beside it closes it, as Esc does."""

    # A subclass with styles of its own lists them after these: Textual loads only its own.
    CSS_PATH: ClassVar[StylePaths] = STYLES

    _results: tuple[Answer | None, ...] = ()  # what `finish` was called with

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss(None)

    def finish(self, result: Answer | None) -> None:
        """Close the dialog with its result once no other one, such as the command palette, is
        above it: `dismiss` closes the topmost one, whichever that is."""
        self._results = (result,)
        self._close_finished()

    def on_screen_resume(self) -> None:
        self._close_finished()

    def _close_finished(self) -> None:
        if self._results and self.is_active:
            (result,), self._results = self._results, ()
            self.dismiss(result)


class FullDialog(Dialog[None]):
    """A dialog that fills the screen: its text scrolls, and Esc or `q` closes it."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "dismiss(None)", "close", show=False),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "VerticalScroll"

    @property
    def text_width(self) -> int:
        """Width of a line of the text in cells."""
        return max(20, self.query_one(VerticalScroll).scrollable_content_region.width)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
