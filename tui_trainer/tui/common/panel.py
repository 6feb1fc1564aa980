"""A pane that draws frozen facts and redraws only when they change."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

Facts = TypeVar("Facts")


class Panel(Widget, Generic[Facts]):
    """Holds what is shown; a subclass turns it into content for the size at hand."""

    def __init__(self, facts: Facts, *, id: str | None = None, classes: str = "") -> None:
        super().__init__(id=id, classes=f"panel {classes}".strip())
        self.facts = facts

    def show(self, facts: Facts) -> bool:
        """Takes new facts; returns whether they differ from what stands there."""
        if facts == self.facts:
            return False
        self.facts = facts
        self.refresh(layout=self.styles.is_auto_height)
        return True

    def render(self) -> Content:
        """The content for the present facts and size."""
        size = self.content_size
        return self.draw(self.facts, max(1, size.width), size.height)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The lines that the facts take at `width`: the present size is not the coming one."""
        return self.draw(self.facts, max(1, width), 0).plain.count("\n") + 1

    def draw(self, facts: Facts, width: int, height: int) -> Content:
        """Content at most `width` cells wide; `height` is 0 before the first layout. Nothing,
        unless a panel says what."""
        return Content("")


def stack(*lines: Content) -> Content:
    """Lines below each other."""
    return Content("\n").join(lines)


def spread(left: Content, right: Content, width: int) -> Content:
    """`left` and `right` at the two ends of a line; `left` is cut where both do not fit."""
    room = width - right.cell_length - 1
    if room < 1:
        return left.truncate(width, ellipsis=True)
    fitted = left.truncate(room, ellipsis=True) if left.cell_length > room else left
    return Content.assemble(fitted, " " * (width - fitted.cell_length - right.cell_length), right)
