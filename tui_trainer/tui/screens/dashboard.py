"""The dashboard: is it learning, how long still, is anything wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.tui import keymap
from tui_trainer.tui.messages import ZoomAsked
from tui_trainer.tui.plots import (
    LOSS,
    LOWER,
    SMOOTHINGS,
    X_AXES,
    ChartOptions,
    Metric,
    Plot,
    extent,
)
from tui_trainer.tui.screens.page import Page, focus_in_order, teach
from tui_trainer.tui.teaching_facts import feedback_facts_of
from tui_trainer.tui.viewport import ALL
from tui_trainer.tui.widgets.chart_pane import ChartPane
from tui_trainer.tui.widgets.events_log import EventsLog, entries_of
from tui_trainer.tui.widgets.job_facts import JobPanel, job_facts_of
from tui_trainer.tui.widgets.machine import MachinePanel, machine_of
from tui_trainer.tui.widgets.outcome import OutcomeBanner, outcome_of
from tui_trainer.tui.widgets.progress import ProgressPanel, progress_of
from tui_trainer.tui.widgets.teaching import FeedbackPanel
from tui_trainer.watch.view import FolderView, RunSummary, RunView

_LOWER_SECONDS = 0.4


class Dashboard(Page):
    """One run: charts, progress, machine, events."""

    CSS_PATH = "dashboard.tcss"
    BINDINGS: ClassVar = keymap.bindings("run", "dashboard")
    AUTO_FOCUS = "#loss"
    place = "dashboard"

    def __init__(self) -> None:
        super().__init__()
        self._options = ChartOptions()
        self._lower = 0
        self._solo = False  # where one chart has room: the lower one stands for the loss
        self._view: RunView | None = None
        self._drawn: Path | None = None
        self._later: Timer | None = None

    def body(self) -> ComposeResult:
        yield OutcomeBanner()
        with Horizontal(id="body"):
            with Vertical(id="charts"):
                yield ChartPane(id="loss")
                with Container(id="lower"):
                    for metric in LOWER:
                        yield ChartPane(id=metric.id, classes="lower")
            with Vertical(id="side"):
                yield ProgressPanel()
                yield MachinePanel()
                yield FeedbackPanel()
                yield JobPanel()
        yield EventsLog()

    def on_mount(self) -> None:
        charts = self.session.settings.charts
        self._options = replace(self._options, smoothing=charts.smoothing, log_y=charts.log_y)
        self.use_theme()

    def on_resize(self, event: events.Resize) -> None:
        self._drawn = None  # other panes may come up: all are drawn with the next look

    def on_screen_resume(self) -> None:
        self._drawn = None

    def use_theme(self) -> None:
        """Gives the charts the colours of the present theme."""
        for pane in self.query(ChartPane):
            pane.use(self.session.palette, self.session.marks)

    def target(self) -> RunSummary | None:
        return self._view.summary if self._view else None

    def sentence(self, view: FolderView) -> Content | None:
        if self.session.focus_path is not None and view.problem is None:
            return None if _focused(view, self.session.focus_path) else Content("reading the run …")
        return teach(view, self.session.monitor_only)

    def take(self, view: FolderView) -> None:
        self._view = _focused(view, self.session.focus_path)
        run = self._view
        if run is None:
            return
        self.query_one(ProgressPanel).show(progress_of(run))
        self.show_talk()
        self.query_one(JobPanel).show(job_facts_of(run))
        self.query_one(EventsLog).show(entries_of(run))
        self.query_one(OutcomeBanner).show(outcome_of(run, self.session.resume_hint(run.summary)))
        self._draw_soon()

    def show_talk(self) -> None:
        talk = self.session.chatting.talk
        panel = self.query_one(FeedbackPanel)
        panel.set_class(talk.used, "-used")
        panel.show(feedback_facts_of(talk))

    def take_machine(self, samples: tuple[HardwareSample, ...]) -> None:
        """Shows what the machine does now."""
        self.query_one(MachinePanel).show(machine_of(samples))

    def step_back(self) -> bool:
        if self.has_class("-maximised"):
            self._restore()
            return True
        return False

    def action_next_chart(self) -> None:
        if self.has_class("-large"):
            self.query_one(f"#{LOWER[self._lower].id}").focus()
        if self.has_class("-short") and not self._solo:
            self._solo = True
        else:
            self._lower = (self._lower + 1) % len(LOWER)
            self._solo = self._solo and self._lower != 0
        self._draw_charts()

    def action_smoothing(self) -> None:
        later = [weight for weight in SMOOTHINGS if weight > self._options.smoothing + 1e-9]
        self._set(replace(self._options, smoothing=later[0] if later else 0.0))
        self.session.tell(f"smoothing {self._options.smoothing:g}")

    def action_log_y(self) -> None:
        self._set(replace(self._options, log_y=not self._options.log_y))

    def action_x_axis(self) -> None:
        following = X_AXES[(X_AXES.index(self._options.x) + 1) % len(X_AXES)]
        self._set(replace(self._options, x=following, viewport=ALL))

    def action_zoom(self, direction: int) -> None:
        self._zoom(direction, 0.5)

    def action_pan(self, direction: int) -> None:
        whole = self._view and extent(self._view, self._options.x)
        if whole:
            self._set(
                replace(self._options, viewport=self._options.viewport.panned(direction, whole))
            )

    def action_move(self, step: int) -> None:
        panes: list[Widget] = [pane for pane in self.query(".pane") if pane.is_on_screen]
        pane = focus_in_order(panes, self.focused, step)
        if pane is not None:
            pane.focus()

    def action_maximise(self) -> None:
        if self.has_class("-maximised"):
            self._restore()
        elif self.focused is not None and self.focused.has_class("pane"):
            self.focused.add_class("-big")
            self.add_class("-maximised")
            self.set_class(self.focused.id == "events", "-log")
            self.set_class(self.focused.has_class("lower"), "-lower-big")
            self.call_after_refresh(self._draw_charts)

    @on(ZoomAsked)
    def _wheel(self, message: ZoomAsked) -> None:
        self._zoom(message.direction, message.at)

    def _zoom(self, direction: int, at: float) -> None:
        whole = self._view and extent(self._view, self._options.x)
        if whole:
            zoomed = self._options.viewport.zoomed(direction, whole, at)
            self._set(replace(self._options, viewport=zoomed))

    def _set(self, options: ChartOptions) -> None:
        self._options = options
        self._draw_charts()

    def _restore(self) -> None:
        for pane in self.query(".-big"):
            pane.remove_class("-big")
        self.remove_class("-maximised", "-log", "-lower-big")
        self.call_after_refresh(self._draw_charts)

    def _draw_soon(self) -> None:
        """The loss at once, the others, which nobody reads by the tenth of a second, a little
        later; all at once for another run."""
        if self._view is None or self._drawn != self._view.summary.path:
            self._draw_charts()
            return
        self._draw((LOSS,))
        if self._later is None:
            self._later = self.set_timer(_LOWER_SECONDS, self._draw_lower)

    def _draw_lower(self) -> None:
        self._later = None
        self._draw(LOWER)

    def _draw_charts(self) -> None:
        """Shows the chosen charts; a pane that comes up is drawn when the stylesheet has it."""
        solo = self._solo and self.has_class("-short")
        self.set_class(solo, "-solo")
        for index, metric in enumerate(LOWER):
            self.query_one(f"#{metric.id}").set_class(index == self._lower, "-chosen")
        self._draw((LOSS, *LOWER))
        self.call_after_refresh(self._draw, (LOSS, *LOWER))

    def _draw(self, metrics: tuple[Metric, ...]) -> None:
        if self._view is None:
            return
        self._drawn = self._view.summary.path
        for metric in metrics:
            pane = self.query_one(f"#{metric.id}", ChartPane)
            if self._has_room(pane):
                pane.show(Plot(self._view, metric, self._options))

    def _has_room(self, pane: ChartPane) -> bool:
        """Whether the stylesheet shows the pane in the present layout."""
        return all(
            node.styles.display != "none"
            for node in (pane, *pane.ancestors)
            if isinstance(node, Widget)
        )


def _focused(view: FolderView, path: Path | None) -> RunView | None:
    """The run in the snapshot, if it is the one that was asked for already."""
    run = view.focused
    return run if run is not None and run.summary.path == path else None
