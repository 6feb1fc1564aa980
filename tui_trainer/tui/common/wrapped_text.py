"""A widget with wrapped text."""

from __future__ import annotations

from textual.app import RenderResult
from textual.content import Content
from textual.geometry import Size
from textual.visual import VisualType
from textual.widgets import Static

from tui_trainer.tui.common.markup import unbroken


class WrappedText(Static):
    """Text that wraps at words, and a long path at its separators. Setting the same text again
    changes nothing, where `Static` lays the whole screen out."""

    def __init__(
        self, content: Content | str = "", *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(content, id=id, classes=classes, markup=False)

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        if not (isinstance(content, Content | str) and _content(content).is_same(self._whole)):
            super().update(content, layout=layout)

    def render(self) -> RenderResult:
        return unbroken(self._whole, self.content_size.width)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return self._whole.get_optimal_width({}, container.width)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return unbroken(self._whole, width).get_height({}, width)

    @property
    def _whole(self) -> Content:
        return _content(self.content)


def _content(text: VisualType) -> Content:
    return text if isinstance(text, Content) else Content(str(text))
