"""The widget of the list of runs: draws only visible lines, and of them only changed ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
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
from tui_trainer.tui.runs.run_rows import COMMANDABLE, MARKED, SIGNS, ColumnLayout, Sorting
from tui_trainer.watch.snapshots import RunSummary

_PAGE_LEFT = 2  # lines that stay in view after a page up or down
_NO_SCORES: Mapping[Path, Mapping[str, float]] = MappingProxyType({})
Cells = tuple[tuple[str, str], ...]  # text and theme colour of each
# Whether it is under the cursor, marked, and accepts commands, and its cells.
Line = tuple[bool, bool, bool, Cells]


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
        self._scores: Mapping[Path, Mapping[str, float]] = {}
        self._cells: dict[Path, tuple[RunSummary, str, Mapping[str, float] | None, Cells]] = {}
        self._styles: dict[tuple[str, bool, str], Style] = {}

    @property
    def chosen(self) -> Path | None:
        """The run under the cursor."""
        return self._paths[self.cursor_row] if self.cursor_row < len(self._paths) else None

    def show_rows(
        self,
        runs: Sequence[RunSummary],
        marked: Collection[Path],
        layout: ColumnLayout,
        now: float,
        chosen: Path | None = None,
        scores: Mapping[Path, Mapping[str, float]] = _NO_SCORES,
    ) -> None:
        """Show the runs in this order. `chosen` is the run under the cursor at first; `scores` are
        those of the runs' evaluations."""
        chosen = self.chosen or chosen
        offset = self.cursor_row - self.scroll_offset.y
        before = self.cursor_row
        changed = layout != self._layout or len(runs) != len(self._runs)
        self._runs, self._marked, self._layout, self._now = runs, marked, layout, now
        self._scores = scores
        self._paths = [run.path for run in runs]
        self.cursor_row = run_rows.cursor_index(self._paths, chosen, self.cursor_row)
        # The list does not scroll sideways, so the width is constant: the widget's own would change
        # with the scrollbar, and every change here lays out and repaints the whole list.
        self.virtual_size = Size(1, len(runs))
        if self.cursor_row != before and 0 <= offset < self.size.height:
            # The line under the cursor stays at its height.
            self.scroll_to(y=self.cursor_row - offset, animate=False, force=True)
        if changed:
            self._drawn, self._cells = {}, {}
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
        known = self._cells.get(run.path)
        own = self._scores.get(run.path)
        if known is None or known[0] is not run or known[1] != age or known[2] is not own:
            plain = session_of(self.app).marks == "ascii"
            cells = run_rows.cells_of(run, self._layout, self._now, plain, own or {})
            known = self._cells[run.path] = run, age, own, cells
        return index == self.cursor_row, run.path in self._marked, run.commandable, known[3]

    def _segments(self, line: Line) -> list[Segment]:
        chosen, marked, commandable, cells = line
        base = self._style(chosen, "")
        segments = [
            Segment(MARKED, self._style(chosen, run_status.ACCENT))
            if marked
            else Segment(" ", base),
            Segment(COMMANDABLE, self._style(chosen, run_status.GOOD))
            if commandable
            else Segment(" ", base),
            Segment(" ", base),
        ]
        gap = Segment(" " * self._layout.gap, base)
        shorter = len(cells) < len(self._spans)  # the last one extends to the end
        for index, (text, colour) in enumerate(cells):
            column, _, width = self._spans[index]
            right = column.right
            if shorter and index == len(cells) - 1:
                width, right = self._layout.rest(index)[1], False
            segments.append(Segment(_fit(text, width, right), self._style(chosen, colour)))
            segments.append(gap)
        return segments

    def _style(self, chosen: bool, colour: str) -> Style:
        """The style of a cell, by whether it is under the cursor and its theme colour."""
        key = (self.app.theme, chosen, colour)
        style = self._styles.get(key)
        if style is None:
            style = self.rich_style
            # With NO_COLOR two greys may look the same, so the line is shown in reverse.
            reversed_ = chosen and self.app.no_color and self.has_focus
            if chosen:
                cursor = self.get_component_rich_style("run-table--cursor")
                style += Style(bgcolor=cursor.bgcolor, bold=cursor.bold, reverse=reversed_ or None)
            if colour and not reversed_:
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
