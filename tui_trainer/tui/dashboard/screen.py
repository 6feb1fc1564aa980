"""The dashboard: is it learning, how long still, is anything wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.tui import keymap
from tui_trainer.tui.chat.teaching_panels import FeedbackPanel
from tui_trainer.tui.chat.teaching_status import feedback_facts_of
from tui_trainer.tui.common.page import Page, focus_in_order, teach
from tui_trainer.tui.dashboard import chart_actions
from tui_trainer.tui.dashboard.advice_actions import AdviceActions
from tui_trainer.tui.dashboard.advice_panel import AdvicePanel
from tui_trainer.tui.dashboard.events_log import EventsLog, entries_of
from tui_trainer.tui.dashboard.hardware_panel import HardwarePanel, machine_of
from tui_trainer.tui.dashboard.job_panel import JobPanel, job_facts_of
from tui_trainer.tui.dashboard.outcome_banner import OutcomeBanner, outcome_of
from tui_trainer.tui.dashboard.progress_panel import ProgressPanel, progress_of
from tui_trainer.tui.hardware.samples import shown_samples
from tui_trainer.tui.keymap import STEERING, Key
from tui_trainer.tui.messages import ChartClicked, ChartDragged, ZoomRequested
from tui_trainer.tui.run_charts.chart_grid import ChartGrid
from tui_trainer.tui.run_charts.chart_pane import ChartPane
from tui_trainer.tui.run_charts.plot import ChartOptions
from tui_trainer.tui.run_charts.viewport import Viewport
from tui_trainer.watch.snapshots import FolderView, RunSummary, RunView
from tui_trainer.watch.throttle import Throttle

# Every row is shown at once, in the leading chart; all else, which nobody reads by the tenth of a
# second, so often. While rows stream in only the newest value is shown at once.
_WHOLE_SECONDS = 0.4
_LOADING_SECONDS = 1.5  # between two looks at the lines of a run that is being read


class DashboardScreen(Page):
    """One run: charts, progress, machine, events."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar = keymap.bindings("run", "dashboard")
    AUTO_FOCUS = "#loss"
    place = "dashboard"

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None
        self._keys = chart_actions.ChartActions(self)
        self._stands = False
        self._steered = False
        self._pace = Throttle()
        self._loading = False
        self._whole_at = 0.0
        self._counsel = AdviceActions(self)
        self._later: Timer | None = None

    def body(self) -> ComposeResult:
        yield OutcomeBanner()
        with Horizontal(id="body"):
            yield self._new_charts()
            with Vertical(id="side"):
                yield ProgressPanel()
                yield HardwarePanel()
                yield AdvicePanel()
                yield FeedbackPanel()
                yield JobPanel()
        yield EventsLog()

    def _new_charts(self) -> ChartGrid:
        session = self.session
        wanted = session.settings.charts
        options = ChartOptions(smoothing=wanted.smoothing, log_y=wanted.log_y)
        return ChartGrid(options, session.palette, session.marks)

    @property
    def charts(self) -> ChartGrid:
        """The charts' part of the screen."""
        return self.query_one(ChartGrid)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._fold)

    def use_theme(self) -> None:
        """Gives the charts the colours of the present theme."""
        for charts in self.query(ChartGrid):
            charts.use(self.session.palette, self.session.marks)

    def target(self) -> RunSummary | None:
        return self._view.summary if self._view else None

    def sentence(self, view: FolderView) -> Content | None:
        if self.session.focus_path is not None and view.problem is None:
            return None if _focused(view, self.session.focus_path) else Content("reading the run …")
        return teach(view, self.session.monitor_only)

    def take(self, view: FolderView) -> None:
        before = self._view
        self._view = _focused(view, self.session.focus_path)
        self._counsel.take(self._view)
        run = self._view
        if run is None or not self._composed():
            return
        if run.commandable != self._steered:
            self._steered = run.commandable
            self.draw_keys()
        now, loading = time.monotonic(), view.loading
        same = before is not None and before.summary.path == run.summary.path
        if same and before is not None and loading == self._loading:
            self._pace.told(now, max(0, run.rows - before.rows))
        else:
            self._whole_at = 0.0  # another run, or all of it has been read
        self.charts.one_by_one = loading or self._loading
        self._loading = loading
        since = now - self._whole_at
        if loading and same:  # keys are heard while much is read: lines take milliseconds
            lines = since >= _LOADING_SECONDS
            self._whole_at = now if lines else self._whole_at
            self.charts.show_newest(self._views(), lines=lines)
            return
        if since >= _WHOLE_SECONDS:
            self._show_whole()
            return
        self.charts.show_newest(self._views(), lines=not self._pace.streams(now))
        if self._later is None:
            self._later = self.set_timer(_WHOLE_SECONDS, self._show_whole)

    def _show_whole(self) -> None:
        """Charts and panels."""
        if self._later is not None:
            self._later.stop()
        self._later, self._whole_at = None, time.monotonic()
        self._show_panels()
        self.show_charts()

    def _show_panels(self) -> None:
        """What stands beside the charts."""
        run = self._view
        if run is None:
            return
        self.query_one(ProgressPanel).show(progress_of(run))
        self.show_talk()
        self.query_one(AdvicePanel).show(self._counsel.facts(run))
        self.query_one(JobPanel).show(job_facts_of(run))
        self.query_one(EventsLog).show(entries_of(run))
        self.query_one(OutcomeBanner).show(outcome_of(run, self.session.resume_hint(run.summary)))

    def show_charts(self) -> None:
        """Shows the run and what is laid over it."""
        if self._composed():
            self.charts.show(self._views())

    def _views(self) -> tuple[RunView, ...]:
        run = self._view
        return () if run is None else (run, *self._keys.others(self.session.view, run))

    def show_talk(self) -> None:
        if not self._composed():
            return
        talk = self.session.chatting.talk
        panel = self.query_one(FeedbackPanel)
        panel.set_class(talk.used, "-used")
        panel.show(feedback_facts_of(talk))

    def take_machine(self, samples: tuple[HardwareSample, ...]) -> None:
        """Shows what the machine does now."""
        if self._composed():
            here = self.session.runs_here(self._view)
            machine = machine_of(*shown_samples(samples, self._view, here=here))
            for panel in self.query(HardwarePanel):  # none left while the screen is closed
                panel.show(machine)

    @property
    def times_shown(self) -> Viewport:
        """What the charts show of the run, as a view of the time of day."""
        return self._keys.times_shown()

    def _composed(self) -> bool:
        """Whether every panel stands: news may come before."""
        if not self._stands:
            self._stands = bool(self.query(JobPanel)) and self.charts.is_mounted
        return self._stands

    def listens_to(self, key: Key) -> bool:
        return key.id not in STEERING or self._steered

    def step_back(self) -> bool:
        """Leaves the cursor, then a maximised pane, then the even grid, then a lone chart."""
        charts = self.charts
        if charts.cursor is not None:
            self._keys.drop_cursor()
        elif self.has_class("-maximised"):
            self._restore()
        elif charts.even:
            self.action_grid()
        elif charts.single is not None:
            charts.single = None
            charts.place_charts()
        else:
            return False
        return True

    # -- which charts ----------------------------------------------------------------------------

    def action_next_chart(self) -> None:
        pane = self.charts.next_chart()
        if pane is not None:
            pane.focus()
        else:
            self._refocus()

    def action_page(self, pages: int) -> None:
        self.charts.turn(pages)
        self._refocus()

    def action_grid(self) -> None:
        self._restore()
        charts = self.charts
        charts.even = not charts.even
        self.set_class(charts.even, "-even")
        charts.single = None
        self._fold()
        charts.place_charts()
        self._refocus()

    def action_maximise(self) -> None:
        if self.has_class("-maximised"):
            self._restore()
        elif self.focused is not None and self.focused.has_class("pane"):
            self.add_class("-maximised")
            self.set_class(self.focused.id == "events", "-log")
            if isinstance(self.focused, ChartPane):
                self.charts.alone(self.focused)
                self._refocus()

    def action_move(self, step: int) -> None:
        panes: list[Widget] = [pane for pane in self.query(".pane") if pane.is_on_screen]
        pane = focus_in_order(panes, self.focused, step)
        if pane is not None:
            pane.focus()

    def _restore(self) -> None:
        if not self.has_class("-maximised"):
            return
        charts = self.charts
        metric = charts.metric_at(self.focused)
        of_chart = not self.has_class("-log")
        self.remove_class("-maximised", "-log")
        if of_chart:
            charts.alone(None)
            self._fold()
            pane = charts.bring(metric)
            (pane or self.query_one("#loss")).focus()

    def _fold(self) -> None:
        """One chart only where a low terminal has no room for two."""
        charts = self.charts
        lone = self.has_class("-maximised") or (self.has_class("-short") and not charts.even)
        if not lone and not charts.even:
            charts.single = None
        charts.lone = lone
        charts.place_charts()

    def _refocus(self) -> None:
        """Keeps the focus on a chart that is seen."""
        panes = self.charts.panes()
        if panes and (self.focused is None or self.focused not in panes):
            panes[0].focus()

    # -- how they are drawn ----------------------------------------------------------------------

    def action_smoothing(self) -> None:
        self._keys.smooth()

    def action_smoother(self, direction: int) -> None:
        self._keys.smoother(direction)

    def action_raw(self) -> None:
        self._keys.raw()

    def action_log_y(self) -> None:
        self._keys.log_y()

    def action_log_x(self) -> None:
        self._keys.log_x()

    def action_x_axis(self) -> None:
        self._keys.x_axis()

    def action_zoom(self, direction: int) -> None:
        self._keys.zoom(direction)

    def action_pan(self, direction: int) -> None:
        self._keys.pan(direction)

    def action_cursor(self) -> None:
        self._keys.toggle_cursor()

    def action_leap(self, direction: int) -> None:
        self._keys.leap(direction)

    def action_edge(self, last: int) -> None:
        self._keys.edge(bool(last))

    def action_only(self) -> None:
        self._keys.only_this_run()

    def action_find(self) -> None:
        self._keys.find()

    def action_export(self) -> None:
        self._keys.export()

    def action_apply_advice(self) -> None:
        self._counsel.apply()

    def action_dismiss_advice(self) -> None:
        self._counsel.dismiss()

    @on(ZoomRequested)
    def _wheel(self, message: ZoomRequested) -> None:
        self._keys.zoom(message.direction, message.at)

    @on(ChartDragged)
    def _drag(self, message: ChartDragged) -> None:
        self._keys.drag(message.share)

    @on(ChartClicked)
    def _click(self, message: ChartClicked) -> None:
        self._keys.point_at(message.x)


def _focused(view: FolderView, path: Path | None) -> RunView | None:
    """The run in the snapshot, if it is the one that was asked for already."""
    run = view.focused
    return run if run is not None and run.summary.path == path else None
