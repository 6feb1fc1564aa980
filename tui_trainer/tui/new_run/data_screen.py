"""The data of the form's job before the run starts: counts, lengths, and single rows."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_trainer.contracts.data_inspection import DataInspection, InspectionRequest
from tui_trainer.contracts.errors import error_text
from tui_trainer.contracts.job import Job
from tui_trainer.launch.inspect_data import Inspection, InspectionCancelledError
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.dialogs.dialog import STYLES, FullDialog, StylePaths
from tui_trainer.tui.common.markup import plain
from tui_trainer.tui.common.session import AppSession, session_of
from tui_trainer.tui.common.wrapped_text import WrappedText
from tui_trainer.tui.new_run import data_page
from tui_trainer.tui.run_charts.chart_pane import ChartPane

ROWS = 50  # to step through
_KEYS = " n p next, previous row   j k scroll   esc close"
_KEYS_READING = " esc cancel"
_MARKS = {"braille": ("⟦", "⟧"), "ascii": ("[[", "]]")}


class DataScreen(FullDialog):
    """Reads the data in another process; leaving the screen cancels that."""

    CSS_PATH: ClassVar[StylePaths] = [STYLES, "data_screen.tcss"]
    BINDINGS: ClassVar = [
        Binding("n,right", "row(1)", "next row", tooltip="show the next row", show=False),
        Binding("p,left", "row(-1)", "previous row", tooltip="show the row before", show=False),
    ]

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self._inspection = Inspection(InspectionRequest(job=job, rows=ROWS))
        self._found: DataInspection | None = None
        self._row = 0
        self._state = "starting …"
        self._problem: str | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -tall"):
            yield WrappedText(id="data-head")
            with VerticalScroll():
                yield Static(id="data-summary", markup=False)
                yield ChartPane(id="data-lengths")
                yield Static(id="data-row-head", markup=False)
                yield Static(id="data-row", markup=False)
                yield Static(id="data-legend", markup=False)
            yield Static(_KEYS_READING, id="data-keys", markup=False)

    @property
    def session(self) -> AppSession:
        """The app, as its screens see it."""
        return session_of(self.app)

    def on_mount(self) -> None:
        chart = self.query_one(ChartPane)
        chart.can_focus = False
        chart.display = False
        chart.use(self.session.palette, self.session.marks)
        self.call_after_refresh(self._begin)  # before, a message of the thread would not be drawn

    def _begin(self) -> None:
        self._draw()
        in_background("inspect data", self._work)

    def on_unmount(self) -> None:
        self._inspection.cancel()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def action_row(self, step: int) -> None:
        """Show another row; or only scroll to the current one, where it is out of sight."""
        if self._found is None or not self._found.rows:
            return
        head, area = self.query_one("#data-row-head"), self.query_one(VerticalScroll)
        if area.region.contains_region(head.region):
            self._row = (self._row + step) % len(self._found.rows)
            self._draw_row(self._found)
        self.call_after_refresh(head.scroll_visible, animate=False, top=True)

    def _work(self) -> None:
        """Read the data, in a thread."""
        found, problem = None, None
        try:
            found = self._inspection.run(lambda message: self._post(self._show_state, message))
        except InspectionCancelledError:
            return
        except Exception as error:  # shown on the screen; in a thread it would be silent
            problem = error_text(error)
        self._post(self._take, found, problem)

    def _post(self, function: object, *arguments: object) -> None:
        if self.app.is_running and self.is_attached:
            self.app.call_from_thread(function, *arguments)  # type: ignore[arg-type]

    def _show_state(self, message: str) -> None:
        self._state = message
        self._draw_head()

    def _take(self, found: DataInspection | None, problem: str | None) -> None:
        self._found, self._problem, self._state = found, problem, ""
        if self.is_mounted:
            self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        self._draw_head()
        if self._found is None:
            return
        found = self._found
        self.query_one("#data-keys", Static).update(_KEYS)
        self.query_one("#data-summary", Static).update(data_page.summary(found, self.text_width))
        chart = self.query_one(ChartPane)
        chart.show_spec(data_page.length_chart(found))
        chart.display = True
        self._draw_row(found)

    def _draw_head(self) -> None:
        if not self.is_mounted:
            return
        head = Content.assemble(("data of ", "$faint"), plain(self._job.name, "bold"))
        if self._problem is not None:
            head = Content.assemble(head, "\n\n", plain(self._problem, "$error"))
            self.query_one("#data-keys", Static).update(" esc close")
        elif self._state:
            head = Content.assemble(head, "\n", plain(self._state, "$faint"))
        self.query_one("#data-head", WrappedText).update(head)

    def _draw_row(self, found: DataInspection) -> None:
        if not found.rows:
            return
        row, width = found.rows[self._row], self.text_width
        marks = _MARKS[self.session.marks] if self.app.no_color else None
        head = data_page.row_head(row, self._row + 1, len(found.rows), width)
        self.query_one("#data-row-head", Static).update(head)
        self.query_one("#data-row", Static).update(data_page.row_text(row, width, marks))
        self.query_one("#data-legend", Static).update(data_page.legend(found.task, marks))
