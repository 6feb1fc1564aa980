"""The dashboard of one run: charts, progress, hardware, advice and events."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.tui import keymap
from tui_trainer.tui.chat.controller import chat_of
from tui_trainer.tui.chat.teaching_status import feedback_facts_of
from tui_trainer.tui.common.page import empty_folder_text, focus_in_order
from tui_trainer.tui.dashboard.advice_actions import AdviceActions
from tui_trainer.tui.dashboard.advice_panel import AdvicePanel
from tui_trainer.tui.dashboard.chart_actions import ChartActions
from tui_trainer.tui.dashboard.events_log import EventsLog, entries_of
from tui_trainer.tui.dashboard.feedback_panel import FeedbackPanel
from tui_trainer.tui.dashboard.hardware_panel import HardwarePanel, hardware_summary
from tui_trainer.tui.dashboard.job_panel import JobPanel, job_facts_of
from tui_trainer.tui.dashboard.outcome_banner import OutcomeBanner, outcome_of
from tui_trainer.tui.dashboard.progress_panel import ProgressPanel, progress_of
from tui_trainer.tui.hardware.samples import shown_samples
from tui_trainer.tui.keymap import Key
from tui_trainer.tui.run_charts.chart_grid import ChartGrid
from tui_trainer.tui.run_charts.chart_pane import ChartPane
from tui_trainer.tui.run_charts.plot import ChartOptions
from tui_trainer.tui.run_control import run_hints
from tui_trainer.watch.snapshots import FolderView, RunView
from tui_trainer.watch.throttle import Throttle

# A new row is drawn at once in the main chart, everything else after this time. While many rows
# arrive, only the newest value is drawn at once.
_WHOLE_SECONDS = 0.4
# Keys of the cursor, in the bottom line while it is shown.
_CURSOR_RANKS = {"pan_left": 3, "pan_right": 4, "leap_right": 6, "to_end": 7, "back": 5}
_LOADING_SECONDS = 1.5  # between two redraws of the lines of a run that is being read


class DashboardScreen(AdviceActions, ChartActions):
    """Shows one run and follows it."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar = keymap.bindings("run", "dashboard")
    AUTO_FOCUS = "#loss"
    mode_name = "dashboard"

    def __init__(self) -> None:
        super().__init__()
        self._all_mounted = False
        self._has_advice = self._can_apply = False
        self._footer: tuple[object, ...] = ()  # what the bottom line depends on
        self._pace = Throttle()
        self._loading = False
        self._whole_at = 0.0
        self._later: Timer | None = None

    def body(self) -> ComposeResult:
        yield OutcomeBanner()
        with Horizontal(id="body"):
            yield self._new_charts()
            with Vertical(id="side"):
                yield ProgressPanel()
                yield HardwarePanel(self.session.keymap.shown_by_id("machine"))
                yield AdvicePanel()
                yield FeedbackPanel()
                yield JobPanel()
        yield EventsLog()

    def _new_charts(self) -> ChartGrid:
        session = self.session
        wanted = session.settings.charts
        options = ChartOptions(smoothing=wanted.smoothing, log_y=wanted.log_y)
        return ChartGrid(options, session.palette, session.marks)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._fold)

    def use_theme(self) -> None:
        """Apply the colours of the current theme to the charts."""
        for charts in self.query(ChartGrid):
            charts.use(self.session.palette, self.session.marks)

    def placeholder(self, view: FolderView) -> Content | None:
        if self.session.focus_path is not None and view.problem is None:
            return None if _focused(view, self.session.focus_path) else Content("reading the run …")
        return empty_folder_text(view, self.session.keymap, self.session.monitor_only)

    def show_snapshot(self, view: FolderView) -> None:
        before = self._run_view
        run = self._run_view = _focused(view, self.session.focus_path)
        if run is None or not self._composed():
            return
        self._update_keys()
        now, loading = time.monotonic(), view.loading
        same = before is not None and before.summary.path == run.summary.path
        if same and before is not None and loading == self._loading:
            self._pace.record(now, max(0, run.rows - before.rows))
        else:
            self._whole_at = 0.0  # another run, or reading it has finished
        self.charts.one_by_one = loading or self._loading
        self._loading = loading
        since = now - self._whole_at
        if loading and same:  # keys stay responsive: lines take milliseconds
            lines = since >= _LOADING_SECONDS
            self._whole_at = now if lines else self._whole_at
            self.charts.show_newest(self.chart_views(), lines=lines)
            return
        if since >= _WHOLE_SECONDS:
            self._show_whole()
            return
        self.charts.show_newest(self.chart_views(), lines=not self._pace.is_stream(now))
        if self._later is None:
            self._later = self.set_timer(_WHOLE_SECONDS, self._show_whole)

    def _show_whole(self) -> None:
        """Show charts and panels."""
        if self._later is not None:
            self._later.stop()
        self._later, self._whole_at = None, time.monotonic()
        self._show_panels()
        self.show_charts()

    def _show_panels(self) -> None:
        """Show the panels beside the charts."""
        run = self._run_view
        if run is None:
            return
        self.query_one(ProgressPanel).show(progress_of(run))
        self.refresh_chat()
        advice = self.advice_facts(run)
        self._has_advice = bool(advice.items)
        self._can_apply = any(item.action not in ("", "applied") for item in advice.items)
        self._update_keys()
        self.query_one(AdvicePanel).show(advice)
        self.query_one(JobPanel).show(job_facts_of(run))
        self.query_one(EventsLog).show(entries_of(run))
        log_key = self.session.keymap.shown_by_id("details")
        self.query_one(OutcomeBanner).show(outcome_of(run, self.way_out(run), log_key))

    def refresh_chat(self) -> None:
        if not self._composed():
            return
        transcript = chat_of(self.app).transcript
        panel = self.query_one(FeedbackPanel)
        panel.set_class(transcript.used, "-used")
        panel.show(feedback_facts_of(transcript))

    def show_hardware(self, samples: tuple[HardwareSample, ...]) -> None:
        """Show the newest hardware samples."""
        if self._composed():
            here = self.session.runs_here(self._run_view)
            facts = hardware_summary(*shown_samples(samples, self._run_view, here=here))
            for panel in self.query(HardwarePanel):  # none while the screen is closed
                panel.show(facts)

    def _composed(self) -> bool:
        """Whether every panel is mounted: messages may arrive before."""
        if not self._all_mounted:
            self._all_mounted = bool(self.query(JobPanel)) and self.charts.is_mounted
        return self._all_mounted

    def _update_keys(self) -> None:
        """Draw the bottom line again where the state that it depends on has changed."""
        run = self.target()
        state = None if run is None else (run.status, run.commandable, run.ours)
        footer = (state, self._has_advice, self._can_apply, self.charts.cursor is not None)
        if footer != self._footer:
            self._footer = footer
            self.draw_keys()

    def is_key_enabled(self, key: Key) -> bool:
        if key.id in ("apply", "dismiss"):
            return self._can_apply if key.id == "apply" else self._has_advice
        view = self._run_view
        if key.id == "resume_run" and view is not None and self.is_damaged(view):
            return False  # it would train unusable weights further: the banner says what works
        return run_hints.is_useful(key, self.target())

    def key_hint(self, key: Key) -> tuple[str, int]:
        if key.id in _CURSOR_RANKS and self._composed() and self.charts.cursor is not None:
            label = "remove cursor" if key.id == "back" else key.label
            return label, _CURSOR_RANKS[key.id]
        return run_hints.hint_of(key, self.target())

    def step_back(self) -> bool:
        """Remove the cursor, else a maximised pane, else the grid, else a single chart."""
        charts = self.charts
        if charts.cursor is not None:
            self.drop_cursor()
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
                self.charts.maximise(self.focused)
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
            charts.maximise(None)
            self._fold()
            pane = charts.scroll_to_metric(metric)
            (pane or self.query_one("#loss")).focus()

    def _fold(self) -> None:
        """Show only one chart where the terminal is too low for two."""
        charts = self.charts
        alone = self.has_class("-maximised") or (self.has_class("-short") and not charts.even)
        if not alone and not charts.even:
            charts.single = None
        charts.one_chart = alone
        charts.place_charts()

    def _refocus(self) -> None:
        """Move the focus to a visible chart."""
        panes = self.charts.panes()
        if panes and (self.focused is None or self.focused not in panes):
            panes[0].focus()


def _focused(view: FolderView, path: Path | None) -> RunView | None:
    """The run that the snapshot has read completely, if it is the selected one."""
    run = view.focused
    return run if run is not None and run.summary.path == path else None
