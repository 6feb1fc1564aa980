"""The whole machine: what holds the run back, GPUs, processors, memory, and how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_trainer.contracts.run import ACTIVE_STATES
from tui_trainer.tui import machine_words
from tui_trainer.tui.charts.text import clean
from tui_trainer.tui.machine_facts import curves_of, shown_samples
from tui_trainer.tui.messages import ZoomAsked
from tui_trainer.tui.screens.dialog import Dialog
from tui_trainer.tui.widgets.chart_pane import ChartPane

if TYPE_CHECKING:
    from tui_trainer.tui.app import TrainerApp

_MOST, _WIDE, _MIDDLE = 4, 150, 110
_ZOOM_MOST = 10
_SECONDS = 1.0
_KEYS = " + - zoom   ← → earlier, later   0 all   j k scroll   esc closes"


class MachineView(Dialog[None]):
    """Curves above, figures below; those of a run that ended are the ones that it recorded."""

    CSS_PATH = "machine.tcss"
    BINDINGS: ClassVar = [
        Binding("escape,h,q,enter", "dismiss(None)", "close", show=False),
        Binding("plus,equals_sign", "zoom(1)", "zoom in", show=False),
        Binding("minus", "zoom(-1)", "zoom out", show=False),
        Binding("0", "zoom(0)", "all", show=False),
        Binding("left", "pan(1)", "earlier", show=False),
        Binding("right", "pan(-1)", "later", show=False),
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self) -> None:
        super().__init__()
        self._zoom = self._shift = 0

    @property
    def session(self) -> TrainerApp:
        """The app, by its own type."""
        return cast("TrainerApp", self.app)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -tall"):
            yield Static(id="machine-head", markup=False)
            with Horizontal(id="machine-curves"):
                for at in range(_MOST):
                    yield ChartPane(id=f"machine-curve-{at}")
            with VerticalScroll():
                yield Static(id="machine-text", markup=False)
            yield Static(_KEYS, id="machine-keys", markup=False)

    def on_mount(self) -> None:
        for pane in self.query(ChartPane):
            pane.can_focus = False
            pane.use(self.session.palette, self.session.marks)
        self._draw()
        self.set_interval(_SECONDS, self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def action_zoom(self, direction: int) -> None:
        self._zoom = min(_ZOOM_MOST, max(0, self._zoom + direction)) if direction else 0
        self._shift = 0 if self._zoom == 0 else self._shift
        self._draw()

    def action_pan(self, direction: int) -> None:
        self._shift = min(2 ** (self._zoom + 1) - 2, max(0, self._shift + direction))
        self._draw()

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    @on(ZoomAsked)
    def _wheel(self, message: ZoomAsked) -> None:
        self.action_zoom(message.direction)

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        session = self.session
        run = session.view.focused
        pid = run.state.pid if run is not None and run.state is not None else None
        here = session.runs_here(run)
        samples, whose = shown_samples(session.samples, run, here=here)
        title = Content.assemble(
            ("machine", "bold"), (f"  {clean(whose)}" if whose else "", "$faint")
        )
        if run is not None and run.summary.status in ACTIVE_STATES and here:
            title = Content.assemble(title, (f"  with {clean(run.summary.name)}", "$faint"))
        self.query_one("#machine-head", Static).update(title)
        width = self.query_one(VerticalScroll).scrollable_content_region.width
        across = _MOST if width >= _WIDE else 3 if width >= _MIDDLE else 2
        specs = curves_of(samples, across, self._zoom, self._shift)
        for at, pane in enumerate(self.query(ChartPane)):
            pane.display = at < len(specs)
            if at < len(specs):
                pane.show_spec(specs[at])
        page = machine_words.page(samples, max(20, width), pid if here else None)
        self.query_one("#machine-text", Static).update(page)
