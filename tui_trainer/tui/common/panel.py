"""A pane that draws immutable facts and redraws only when they change."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from tui_trainer.tui.common.markup import truncated

Facts = TypeVar("Facts")


class Panel(Widget, Generic[Facts]):
    """Keeps the facts to show; a subclass draws them for the current size."""

    def __init__(self, facts: Facts, *, id: str | None = None, classes: str = "") -> None:
        super().__init__(id=id, classes=f"panel {classes}".strip())
        self.facts = facts

    def show(self, facts: Facts) -> bool:
        """Show new facts; return whether they differ from the current ones."""
        if facts == self.facts:
            return False
        self.facts = facts
        self.refresh(layout=self.styles.is_auto_height)
        return True

    def render(self) -> Content:
        """The content for the current facts and size."""
        size = self.content_size
        return self.draw(self.facts, max(1, size.width), size.height)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The lines that the facts need at `width` cells; the current width may differ."""
        return self.draw(self.facts, max(1, width), 0).plain.count("\n") + 1

    def draw(self, facts: Facts, width: int, height: int) -> Content:
        """The content, at most `width` cells wide; empty by default. `height` is 0 before the
        first layout."""
        return Content("")


def stack(*lines: Content) -> Content:
    """The lines joined by line breaks."""
    return Content("\n").join(lines)


def spread(left: Content, right: Content, width: int) -> Content:
    """One line with `left` and `right` at its ends; `left` is truncated where both do not fit."""
    room = width - right.cell_length - 1
    if room < 1:
        return truncated(left, width)
    fitted = truncated(left, room)
    return Content.assemble(fitted, " " * (width - fitted.cell_length - right.cell_length), right)
