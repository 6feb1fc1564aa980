"""The table of adapters; the cursor stays on its adapter when rows change."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.widgets import DataTable

from tui_trainer.tui.adapters.adapter_rows import AdapterRow, columns_for
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import shorten
from tui_trainer.tui.runs.run_rows import RunColumn


class AdapterTable(DataTable[Text]):
    """A row for each adapter; active ones are highlighted."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cursor_foreground_priority="renderable")
        self._shown: object = None
        self._names: list[str] = []

    @property
    def chosen(self) -> str | None:
        """The adapter under the cursor; messages about cursor moves arrive later than this."""
        return self._names[self.cursor_row] if self.cursor_row < len(self._names) else None

    def choose(self, name: str) -> bool:
        """Move the cursor to an adapter; False if it is not listed."""
        if name not in self._names:
            return False
        self.move_cursor(row=self._names.index(name))
        return True

    def show_rows(self, rows: tuple[AdapterRow, ...], room: int) -> None:
        """Show the rows in `room` cells."""
        name_width, columns = columns_for(room)
        variables = self.app.theme_variables
        good = Style(color=variables[run_status.GOOD.removeprefix("$")], bold=True)
        mark = Style(color=variables[run_status.ACCENT.removeprefix("$")], bold=True)
        wanted = (rows, name_width, columns, good, mark)
        if wanted == self._shown:
            return
        self._shown = wanted
        chosen, index = self.chosen, self.cursor_row
        self.clear(columns=True)
        self.add_column(Text("  name"), key="name", width=name_width)
        for column in columns:
            title = Text(column.title, justify="right" if column.right else "left")
            self.add_column(title, key=column.id, width=column.width)
        for row in rows:
            name = Text(shorten(row.shown, name_width), good if row.live else Style(), end="")
            if row.marked:
                name.stylize(mark, 0, 1)
            self.add_row(name, *_cells(row, columns, good), key=row.name)
        self._names = [row.name for row in rows]
        if chosen is not None and not self.choose(chosen):
            self.move_cursor(row=index)


def _cells(row: AdapterRow, columns: tuple[RunColumn, ...], good: Style) -> list[Text]:
    cells = []
    for column in columns:
        text = shorten(row.cell(column.id), column.width)
        style = good if column.id == "live" else Style()
        cells.append(Text(text, style, justify="right" if column.right else "left"))
    return cells
