"""The hardware page: the run's bottleneck, GPUs, processors, memory, disk, network."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.text.formats import clean
from tui_trainer.tui import keymap
from tui_trainer.tui.common.dialogs.dialog import FullDialog
from tui_trainer.tui.common.session import AppSession, session_of
from tui_trainer.tui.hardware import hardware_text
from tui_trainer.tui.hardware.samples import curves_of, extent_of, shown_samples
from tui_trainer.tui.messages import ChartDragged, ZoomRequested
from tui_trainer.tui.run_charts.chart_pane import ChartPane
from tui_trainer.tui.run_charts.viewport import ALL, Viewport

_MOST, _WIDE, _MIDDLE = 4, 150, 110
_TWO_ROWS = 24  # lines from which on there are two rows of curves
_REFRESH_SECONDS = 1.0
_ZOOM = ("zoom_in", "zoom_out", "pan_left", "pan_right", "zoom_all")
_PAGES = ("previous_page", "next_page")


class HardwareScreen(FullDialog):
    """Curves above, values below; for a finished run those that it recorded.

    The charts' keys and the wheel zoom and move the curves; `viewport` is over the time of day.
    """

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar = [
        Binding("h,enter", "dismiss(None)", "close", show=False),
        *keymap.bindings_of(*_ZOOM, *_PAGES, "leap_left", "leap_right"),
    ]

    def __init__(self, viewport: Viewport = ALL) -> None:
        super().__init__()
        self.viewport = viewport
        self._samples: tuple[HardwareSample, ...] = ()
        self._drawn: tuple[object, ...] = ()
        self._first = 0  # index of the first visible curve

    @property
    def session(self) -> AppSession:
        """The app, as its screens see it."""
        return session_of(self.app)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -tall"):
            yield Static(id="hardware-head", markup=False)
            with Container(id="hardware-curves"):
                for at in range(2 * _MOST):
                    yield ChartPane(id=f"hardware-curve-{at}")
            with VerticalScroll():
                yield Static(id="hardware-text", markup=False)
            yield Static(self._keys(), id="hardware-keys", markup=False)

    def on_mount(self) -> None:
        for pane in self.query(ChartPane):
            pane.can_focus = False
            pane.use(self.session.palette, self.session.marks)
        self._draw()
        self.set_interval(_REFRESH_SECONDS, self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def action_zoom(self, direction: int) -> None:
        self._zoom(direction)

    def action_pan(self, direction: int) -> None:
        whole = extent_of(self._samples)
        if whole is not None:
            self._set_viewport(self.viewport.panned(direction, whole))

    def action_page(self, pages: int) -> None:
        """Show the next or the previous curves."""
        across, rows = self._grid()
        self._first += pages * across * rows
        self._draw()

    def action_leap(self, direction: int) -> None:
        self._move(direction)

    @on(ZoomRequested)
    def _wheel(self, message: ZoomRequested) -> None:
        self._zoom(message.direction, message.at)

    @on(ChartDragged)
    def _drag(self, message: ChartDragged) -> None:
        self._move(message.share)

    def _zoom(self, direction: int, at: float | None = None) -> None:
        whole = extent_of(self._samples)
        if whole is not None:
            self._set_viewport(self.viewport.zoomed(direction, whole, at))

    def _move(self, share: float) -> None:
        whole = extent_of(self._samples)
        if whole is not None:
            self._set_viewport(self.viewport.moved(share, whole))

    def _set_viewport(self, viewport: Viewport) -> None:
        self.viewport = viewport
        self._draw()

    def _draw(self) -> None:
        """Draw again if anything has changed."""
        if not self.is_mounted:
            return
        session = self.session
        run = session.view.focused
        pid = run.state.pid if run is not None and run.state is not None else None
        here = session.runs_here(run)
        self._samples, source = shown_samples(session.samples, run, here=here)
        title = Content.assemble(
            ("hardware", "bold"), (f"  {clean(source)}" if source else "", "$faint")
        )
        if run is not None and run.summary.status in ACTIVE_STATES and here:
            title = Content.assemble(title, (f"  during {clean(run.summary.name)}", "$faint"))
        drawn = (self._samples, self.viewport, self._grid(), self.text_width, title, self._first)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        self.query_one("#hardware-head", Static).update(title)
        self._draw_curves()
        page = hardware_text.page(self._samples, self.text_width, pid if here else None)
        self.query_one("#hardware-text", Static).update(page)

    def _draw_curves(self) -> None:
        (across, rows), specs = self._grid(), curves_of(self._samples, self.viewport)
        rows = min(rows, -(-len(specs) // across))
        styles = self.query_one("#hardware-curves").styles
        styles.grid_size_columns, styles.grid_size_rows = across, rows
        self._first = max(0, min(self._first, len(specs) - across * rows))
        specs = specs[self._first : self._first + across * rows]
        for at, pane in enumerate(self.query(ChartPane)):
            pane.display = at < len(specs)
            if at < len(specs):
                pane.show_spec(specs[at])

    def _grid(self) -> tuple[int, int]:
        """Columns and rows of curves."""
        across = _MOST if self.text_width >= _WIDE else 3 if self.text_width >= _MIDDLE else 2
        return across, 2 if self.query_one("#hardware-curves").size.height >= _TWO_ROWS else 1

    def _keys(self) -> str:
        """One line with the keys as configured by the user."""
        shown = map(self.session.keymap.shown_by_id, (*_ZOOM, *_PAGES))
        zoom_in, zoom_out, left, right, whole, before, after = shown
        return (
            f" {zoom_in} {zoom_out} zoom   {left} {right} earlier/later   {whole} all   "
            f"{before} {after} curves   j k scroll   esc close"
        )
