"""A dialog with a scrolling text."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_trainer.tui.common.dialogs.dialog import Dialog
from tui_trainer.tui.common.panel import Panel


class TextPanel(Panel[None]):
    """Text that is drawn for its width."""

    def __init__(self, draw: Callable[[int], Content]) -> None:
        super().__init__(None, classes="text")
        self._draw_at = draw

    def draw(self, facts: None, width: int, height: int) -> Content:
        return self._draw_at(width)


class TextView(Dialog[None]):
    """Draws its content for the current width; Esc and `q` close it."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "dismiss(None)", "close", show=False),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, draw: Callable[[int], Content]) -> None:
        super().__init__()
        self._draw = draw

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog -wide"):
            yield TextPanel(self._draw)
            yield Static(Content.assemble(("esc ", "bold $accent"), "close"), classes="keys")

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
