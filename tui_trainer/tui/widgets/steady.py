"""A text that costs nothing while it stays the same."""

from __future__ import annotations

from textual.content import Content
from textual.visual import VisualType
from textual.widgets import Static


class Steady(Static):
    """A `Static` for what is set with every snapshot: the same text again changes nothing, where
    `Static` lays the whole screen out."""

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        shown = self.content
        if isinstance(content, str) and isinstance(shown, str) and content == shown:
            return
        if isinstance(content, Content) and isinstance(shown, Content) and content.is_same(shown):
            return
        super().update(content, layout=layout)
