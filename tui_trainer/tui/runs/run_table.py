"""The widget of the list of runs: draws only visible lines, and of them only changed ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.session import session_of
from tui_trainer.tui.runs import run_rows
from tui_trainer.tui.runs.run_rows import MARKED, SIGNS, STEERED, ColumnLayout, Sorting
from tui_trainer.watch.snapshots import RunSummary

_PAGE_LEFT = 2  # lines that stay in view after a page up or down
Words = tuple[tuple[str, str], ...]
Line = tuple[bool, bool, bool, Words]


class RunTable(ScrollView, can_focus=True, inherit_bindings=False):
    """One line per run; the cursor stays on its run when lines move."""

    COMPONENT_CLASSES: ClassVar = {"run-table--cursor"}
    BINDINGS: ClassVar = [
        Binding("pageup", "page(-1)", "a page up", show=False),
        Binding("pagedown", "page(1)", "a page down", show=False),
        Binding("home", "go(0)", "the first run", show=False),
        Binding("end", "go(-1)", "the last run", show=False),
    ]

    class Opened(Message):
        """The run under the cursor was clicked again."""

    class Moved(Message):
        """The cursor is on another run."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, type(self))

    class Marked(Message):
        """The cells of the mark were clicked."""

    def __init__(self) -> None:
        super().__init__()
        self.cursor_row = 0
        self._runs: Sequence[RunSummary] = ()
        self._paths: list[Path] = []
        self._marked: Collection[Path] = ()
        self._layout = run_rows.layout_for(80)
        self._now = 0.0
        self._drawn: dict[int, Line] = {}
        self._spans = self._layout.spans()
        self._words: dict[Path, tuple[RunSummary, str, Words]] = {}
        self._styles: dict[tuple[str, bool, str], Style] = {}

    @property
    def chosen(self) -> Path | None:
        """The run under the cursor."""
        return self._paths[self.cursor_row] if self.cursor_row < len(self._paths) else None

    def lay(
        self,
        runs: Sequence[RunSummary],
        marked: Collection[Path],
        layout: ColumnLayout,
        now: float,
        chosen: Path | None = None,
    ) -> None:
        """Show the runs in this order. `chosen` is the first run of the cursor."""
        chosen = self.chosen or chosen
        held = self.cursor_row - self.scroll_offset.y
        before = self.cursor_row
        anew = layout != self._layout or len(runs) != len(self._runs)
        self._runs, self._marked, self._layout, self._now = runs, marked, layout, now
        self._paths = [run.path for run in runs]
        self.cursor_row = run_rows.cursor_index(self._paths, chosen, self.cursor_row)
        # Nothing scrolls sideways. The widget's own width would change with the first layout and
        # with the scrollbar, and every change here lays out and repaints the whole list.
        self.virtual_size = Size(1, len(runs))
        if self.cursor_row != before and 0 <= held < self.size.height:
            # The line under the cursor stays at its height.
            self.scroll_to(y=self.cursor_row - held, animate=False, force=True)
        if anew:
            self._drawn, self._words = {}, {}
            self._spans = layout.spans()
            self.refresh()
        else:
            self._refresh_changed()

    def move(self, row: int) -> None:
        """Move the cursor to a line, or the nearest one, and scroll it into view."""
        row = max(0, min(row, len(self._runs) - 1))
        if row == self.cursor_row:
            return
        before, self.cursor_row = self.cursor_row, row
        self.refresh_line(before)
        self.refresh_line(row)
        self.post_message(self.Moved())
        top, height = round(self.scroll_offset.y), max(1, self.size.height)
        if row < top:
            self.scroll_to(y=row, animate=False)
        elif row >= top + height:
            self.scroll_to(y=row - height + 1, animate=False)

    def action_page(self, direction: int) -> None:
        step = max(1, self.size.height - _PAGE_LEFT)
        self.move(self.cursor_row + direction * step)

    def action_go(self, row: int) -> None:
        self.move(row if row >= 0 else len(self._runs) - 1)

    def render_line(self, y: int) -> Strip:
        index = y + round(self.scroll_offset.y)
        width = self.size.width
        if index >= len(self._runs):
            return Strip.blank(width, self.rich_style)
        line = self._drawn[index] = self._line(index)
        return Strip(self._segments(line)).adjust_cell_length(width, self._style(line[0], ""))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()

    def on_click(self, event: events.Click) -> None:
        row = event.y + round(self.scroll_offset.y)
        if row >= len(self._runs):
            return
        if event.x < SIGNS:
            self.move(row)
            self.post_message(self.Marked())
        elif row == self.cursor_row:
            self.post_message(self.Opened())
        else:
            self.move(row)

    def on_focus(self) -> None:
        self._styles.clear()

    def on_blur(self) -> None:
        self._styles.clear()

    def _refresh_changed(self) -> None:
        top = round(self.scroll_offset.y)
        for index in range(top, min(top + self.size.height, len(self._runs))):
            if self._drawn.get(index) != self._line(index):
                self.refresh_line(index)

    def _line(self, index: int) -> Line:
        run = self._runs[index]
        age = run_rows.last_update_text(run.updated_at, self._now)
        known = self._words.get(run.path)
        if known is None or known[0] is not run or known[1] != age:
            plain = session_of(self.app).marks == "ascii"
            known = run, age, run_rows.cells_of(run, self._layout, self._now, plain)
            self._words[run.path] = known
        return index == self.cursor_row, run.path in self._marked, run.commandable, known[2]

    def _segments(self, line: Line) -> list[Segment]:
        chosen, marked, steered, words = line
        base = self._style(chosen, "")
        segments = [
            Segment(MARKED, self._style(chosen, run_status.ACCENT))
            if marked
            else Segment(" ", base),
            Segment(STEERED, self._style(chosen, run_status.GOOD))
            if steered
            else Segment(" ", base),
            Segment(" ", base),
        ]
        gap = Segment(" " * self._layout.gap, base)
        shorter = len(words) < len(self._spans)  # its last words go on to the end
        for place, (text, colour) in enumerate(words):
            column, _, width = self._spans[place]
            right = column.right
            if shorter and place == len(words) - 1:
                width, right = self._layout.rest(place)[1], False
            segments.append(Segment(_fit(text, width, right), self._style(chosen, colour)))
            segments.append(gap)
        return segments

    def _style(self, chosen: bool, colour: str) -> Style:
        """The style of a cell, by whether it is under the cursor and its theme colour."""
        key = (self.app.theme, chosen, colour)
        style = self._styles.get(key)
        if style is None:
            style = self.rich_style
            # Two greys may look the same, so NO_COLOR turns the whole line round.
            turned = chosen and self.app.no_color and self.has_focus
            if chosen:
                cursor = self.get_component_rich_style("run-table--cursor")
                style += Style(bgcolor=cursor.bgcolor, bold=cursor.bold, reverse=turned or None)
            if colour and not turned:
                style += Style(color=self.app.theme_variables[colour.removeprefix("$")])
            self._styles[key] = style
        return style


class RunHeading(Widget):
    """The headings; a click sorts by one."""

    class Clicked(Message):
        """A heading was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[ColumnLayout, Sorting] = (run_rows.layout_for(80), Sorting())

    def show(self, layout: ColumnLayout, sorting: Sorting) -> None:
        """Show these columns and mark the sorted one."""
        if (layout, sorting) != self._shown:
            self._shown = (layout, sorting)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        layout, sorting = self._shown
        base = self.rich_style
        segments = [Segment(" " * SIGNS, base)]
        for column, _, width in layout.spans():
            title = column.title
            style = base
            if sorting.column == column.id:
                title += "↓" if sorting.falling else "↑"
                style = base + Style(bold=True, color=self.app.theme_variables["accent"])
            segments.append(Segment(_fit(title, width, column.right), style))
            segments.append(Segment(" " * layout.gap, base))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def on_click(self, event: events.Click) -> None:
        column = self._shown[0].column_at(event.x - self.styles.padding.left)
        if column is not None and column.field:
            self.post_message(self.Clicked(column.id))


def _fit(text: str, width: int, right: bool) -> str:
    """`text` in exactly `width` cells; wide characters count as two."""
    cells = cell_len(text)
    if cells > width:
        text = set_cell_size(text, width)
        cells = width
    blank = " " * (width - cells)
    return blank + text if right else text + blank
