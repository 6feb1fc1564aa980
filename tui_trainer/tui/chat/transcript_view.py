"""The widget of the conversation: scrolls, follows the end, wraps only new entries."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui_trainer.tui.chat.transcript import TranscriptEntry
from tui_trainer.tui.chat.transcript_lines import entry_lines


class TranscriptView(ScrollView):
    """Draws line by line, so that only the visible lines of a conversation cost time."""

    can_focus = True

    def __init__(self) -> None:
        super().__init__(id="transcript", classes="pane")
        self._entries: list[TranscriptEntry] = []
        self._blocks: list[list[Content]] = []
        self._tops: list[int] = []  # first line of each block
        self._height = 0
        self._width = 0
        self._follows = True

    def show(self, entries: Sequence[TranscriptEntry]) -> None:
        """Show the entries; the lines of entries that are the same objects are kept."""
        same = 0
        for old, new in zip(self._entries, entries, strict=False):
            if old is not new:
                break
            same += 1
        if same == len(self._entries) == len(entries):
            return
        self._entries = list(entries)
        self._wrap_from(same)

    def render_line(self, y: int) -> Strip:
        """One visible row."""
        row = y + round(self.scroll_y)
        background = self.visual_style
        width = self.content_size.width
        if not self._tops or row >= self._height:
            return Strip.blank(width, background.rich_style)
        index = bisect_right(self._tops, row) - 1
        within = row - self._tops[index]
        block = self._blocks[index]
        if within >= len(block):
            return Strip.blank(width, background.rich_style)
        strip = Strip(block[within].render_segments(background))
        return strip.adjust_cell_length(width, background.rich_style)

    def on_resize(self, event: events.Resize) -> None:
        self._wrap_from(len(self._entries))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._follows = new_value >= self.max_scroll_y

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.refresh()

    def scroll_to_end(self) -> None:
        """Show the newest line and follow it from now on."""
        self._follows = True
        self.scroll_end(animate=False, immediate=True, x_axis=False)

    def _wrap_from(self, kept: int) -> None:
        """Wrap the entries from index `kept` on; scroll to the end if it was in view."""
        width = self.scrollable_content_region.width
        if not width or not self.is_attached:
            return
        kept = max(0, kept - 1)  # the gap below the last one depends on what follows
        if width != self._width:
            kept, self._width = 0, width
        follows = self._follows
        first = self._tops[kept] if kept < len(self._tops) else self._height
        del self._blocks[kept:], self._tops[kept:]
        top = first if kept else 0
        for index in range(kept, len(self._entries)):
            block = [*entry_lines(self._entries[index], width), *self._gap(index)]
            self._tops.append(top)
            self._blocks.append(block)
            top += len(block)
        self._height = top
        self.virtual_size = Size(width, top)
        if follows:
            self.scroll_to_end()
        row = first - round(self.scroll_y)
        if row < self.size.height:
            self.refresh(Region(0, max(0, row), self.size.width, self.size.height - max(0, row)))

    def _gap(self, index: int) -> list[Content]:
        """An empty line before each question."""
        following = self._entries[index + 1 : index + 2]
        return [Content("")] if following and following[0].kind == "you" else []
