"""The list of runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import DataTable, Input

from tui_trainer.tui import keymap, roster, states
from tui_trainer.tui.roster import Row
from tui_trainer.tui.screens.page import Page, teach
from tui_trainer.tui.text import plain, shorten
from tui_trainer.watch.view import FolderView, RunSummary

_REFRESH_SECONDS = 5.0  # for the ages; everything else comes with a snapshot


class Runs(Page):
    """Every run of the folder, live; the cursor stays on its run when rows move."""

    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar = keymap.bindings("run", "runs")
    AUTO_FOCUS = "DataTable"
    place = "runs"

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[Row, ...] = ()
        self._shown: dict[str, tuple[str, ...]] = {}
        self._layout: object = None
        self._chosen: Path | None = None

    def body(self) -> ComposeResult:
        yield Input(placeholder="name or state", id="filter", compact=True)
        yield DataTable(cursor_type="row", cursor_foreground_priority="renderable")

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.set_interval(_REFRESH_SECONDS, self.refresh_all)

    def target(self) -> RunSummary | None:
        return next((run for run in self.session.view.runs if run.path == self._chosen), None)

    def sentence(self, view: FolderView) -> Content | None:
        text = self.query_one("#filter", Input).value
        if view.runs and not roster.rows_of(view.runs, text, 0.0):
            return Content.assemble(
                "no run has ", plain(text, "bold"), " in its name or state.  ",
                ("esc", "bold $accent"), " shows all again.",
            )  # fmt: skip
        return teach(view, self.session.monitor_only)

    def take(self, view: FolderView) -> None:
        if not self.is_current:
            return
        self._rows = roster.rows_of(view.runs, self.query_one("#filter", Input).value, time.time())
        name_width, columns = roster.columns_for(self.size.width - 2)
        if self._layout != (name_width, columns):
            self._layout = (name_width, columns)
            self._lay_out(name_width, columns)
        self._fill(name_width, columns)

    def step_back(self) -> bool:
        field = self.query_one("#filter", Input)
        if not field.display:
            return False
        field.value = ""
        field.display = False
        self.query_one(DataTable).focus()
        return True

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_move(self, step: int) -> None:
        table = self._table
        table.move_cursor(row=table.cursor_row + step)

    def action_open(self) -> None:
        if self._chosen is not None:
            self.session.look_at(self._chosen)
            self.session.action_show("dashboard")

    @on(Input.Changed, "#filter")
    def _filtered(self) -> None:
        self.refresh_all()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self._table.focus()

    @on(DataTable.RowHighlighted)
    def _moved(self, message: DataTable.RowHighlighted) -> None:
        if message.row_key.value is not None:
            self._chosen = Path(message.row_key.value)

    @on(DataTable.RowSelected)
    def _opened(self, message: DataTable.RowSelected) -> None:
        if message.row_key.value is not None:
            self._chosen = Path(message.row_key.value)
            self.action_open()

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one(DataTable)

    def _lay_out(self, name_width: int, columns: tuple[roster.Column, ...]) -> None:
        table = self._table
        table.clear(columns=True)
        self._shown = {}
        table.add_column(Text("name"), key="name", width=name_width)
        for column in columns:
            title = Text(column.title, justify="right" if column.right else "left")
            table.add_column(title, key=column.id, width=column.width)

    def _fill(self, name_width: int, columns: tuple[roster.Column, ...]) -> None:
        """Writes what differs; where runs came, went or moved the rows are laid anew."""
        table = self._table
        wanted = {
            str(row.path): (row.name, *(row.cell(column.id) for column in columns))
            for row in self._rows
        }
        if list(wanted) != list(self._shown):
            index, top = table.cursor_row, table.scroll_y
            table.clear()
            for row in self._rows:
                table.add_row(*self._cells(row, name_width, columns), key=str(row.path))
            place = roster.keep_place(self._rows, self._chosen or self.session.focus_path, index)
            table.move_cursor(row=place, scroll=False)
            table.scroll_to(y=top, animate=False)
        else:
            ids = ("name", *(column.id for column in columns))
            for row in self._rows:
                key = str(row.path)
                for id, cell, old, new in zip(
                    ids,
                    self._cells(row, name_width, columns),
                    self._shown[key],
                    wanted[key],
                    strict=True,
                ):
                    if old != new:
                        table.update_cell(key, id, cell)
        self._shown = wanted

    def _cells(self, row: Row, name_width: int, columns: tuple[roster.Column, ...]) -> list[Text]:
        cells = [Text(shorten(row.name, name_width), end="")]
        for column in columns:
            style = self._state_style(row.status) if column.id == "status" else Style()
            words = shorten(row.cell(column.id), column.width)
            cells.append(Text(words, style, justify="right" if column.right else "left"))
        return cells

    def _state_style(self, status: str) -> Style:
        variable = states.colour(status).removeprefix("$")
        return Style(color=self.session.theme_variables[variable], bold=True)
