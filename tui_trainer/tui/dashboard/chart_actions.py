"""The actions of keys and mouse on the charts of the dashboard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from textual import on

from tui_trainer.tui.charts.smoothing import SmoothingCache, weight_text
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.dashboard.run_page import RunPage
from tui_trainer.tui.messages import ChartClicked, ChartDragged, NoticePosted, ZoomRequested
from tui_trainer.tui.run_charts import cursor
from tui_trainer.tui.run_charts.chart_grid import ChartGrid
from tui_trainer.tui.run_charts.plot import SMOOTHINGS, ChartOptions, Smoothing, x_of_step
from tui_trainer.tui.run_charts.viewport import ALL, Range, Viewport
from tui_trainer.tui.run_charts.x_axis import available, extent, x_of
from tui_trainer.watch.snapshots import RunView

_SMOOTHEST = 0.999
_FINER = 1.5  # factor on the weight of the new value


class ChartActions(RunPage):
    """A page with the charts of a run and the actions on them; without a run they do nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._overlay_hidden = False

    @property
    def charts(self) -> ChartGrid:
        """The charts' part of the screen."""
        return self.query_one(ChartGrid)

    def show_charts(self) -> None:
        """Draw the charts of the run and of the runs overlaid on it."""
        for charts in self.query(ChartGrid):  # none before it is mounted
            charts.show(self.chart_views())

    def chart_views(self) -> tuple[RunView, ...]:
        """The run, and the runs overlaid on it in the order in which they were marked."""
        run, view = self._run_view, self.session.view
        if run is None or self._overlay_hidden:
            return () if run is None else (run,)
        found = {other.summary.path: other for other in view.others}
        wanted = [path for path in self.session.overlay if path != run.summary.path]
        return (run, *(found[path] for path in wanted if path in found))

    # -- lines and axes -------------------------------------------------------------------------

    def action_smoothing(self) -> None:
        """Select the next preset smoothing; after the strongest, the automatic one."""
        current = self._chart_options.smoothing
        least = -1.0 if current == "auto" else current + 1e-9
        self._set_smoothing(next((weight for weight in SMOOTHINGS if weight > least), "auto"))

    def action_smoother(self, direction: int) -> None:
        """Smooth slightly more or less, by a constant factor on the weight of a new value."""
        share = (1 - self.charts.weight) * (1 / _FINER if direction > 0 else _FINER)
        weight = round(1 - share, 4)
        self._set_smoothing(min(weight, _SMOOTHEST) if weight > 0.05 else 0.0)

    def action_raw(self) -> None:
        """Show or hide the raw values behind the smoothed lines."""
        self._set_options(raw=not self._chart_options.raw)

    def action_log_y(self) -> None:
        self._set_options(log_y=not self._chart_options.log_y)

    def action_log_x(self) -> None:
        self._set_options(log_x=not self._chart_options.log_x, viewport=ALL)

    def action_x_axis(self) -> None:
        """Select the next x axis for which the runs have values."""
        axes = available(self.charts.views)
        here = self._chart_options.x
        at = axes.index(here) if here in axes else -1
        self._set_options(x=axes[(at + 1) % len(axes)], viewport=ALL)

    # -- zoom and pan ---------------------------------------------------------------------------

    def action_zoom(self, direction: int, at: float | None = None) -> None:
        """Zoom at the pointer, else at the cursor, else at the newest step."""
        whole = self._x_extent()
        if whole is None:
            return
        position = self._cursor_position()
        shown = self._chart_viewport.shown(whole) or whole
        if at is None and position is not None and shown[0] <= position <= shown[1]:
            at = (position - shown[0]) / (shown[1] - shown[0])
        self._set_options(viewport=self._chart_viewport.zoomed(direction, whole, at))

    def action_pan(self, direction: int) -> None:
        """Move the cursor by a step or a column, else the view by a quarter of its width."""
        whole = self._x_extent()
        if self.charts.cursor is not None:
            self._move_cursor(direction)
        elif whole is not None:
            self._set_options(viewport=self._chart_viewport.panned(direction, whole))

    def action_leap(self, direction: int) -> None:
        """Move the cursor by ten columns, else the view by its width."""
        whole = self._x_extent()
        if self.charts.cursor is not None:
            self._move_cursor(direction * cursor.LEAP)
        elif whole is not None:
            self._set_options(viewport=self._chart_viewport.moved(direction, whole))

    def action_edge(self, last: int) -> None:
        """Move the cursor, else the view, to the first or last step."""
        charts, whole = self.charts, self._x_extent()
        if charts.cursor is not None:
            self._put_cursor(
                cursor.end_of(charts.views[0], self._chart_options.x, self._x_shown(), bool(last))
            )
        elif whole is not None and self._chart_viewport.width is not None:
            high = whole[1] if last else whole[0] + self._chart_viewport.width
            moved = Viewport(self._chart_viewport.width, high, False).settled(whole)
            self._set_options(viewport=moved)

    @on(ZoomRequested)
    def _zoom_at_pointer(self, message: ZoomRequested) -> None:
        self.action_zoom(message.direction, message.at)

    @on(ChartDragged)
    def _drag(self, message: ChartDragged) -> None:
        """Move the view along with the pointer."""
        whole = self._x_extent()
        if whole is not None:
            self._set_options(viewport=self._chart_viewport.moved(message.share, whole))

    # -- cursor ---------------------------------------------------------------------------------

    def action_cursor(self) -> None:
        """Show a cursor at the newest visible step, or remove it."""
        charts = self.charts
        if charts.cursor is not None:
            self.drop_cursor()
        elif charts.views:
            self._put_cursor(
                cursor.end_of(charts.views[0], self._chart_options.x, self._x_shown(), True)
            )

    def drop_cursor(self) -> None:
        """Remove the cursor."""
        self.charts.cursor = None
        self._redraw_charts()
        self.draw_keys()

    @on(ChartClicked)
    def _point_at(self, message: ChartClicked) -> None:
        """Move the cursor to the step nearest to a position on the x axis."""
        if self.charts.views:
            self._put_cursor(
                cursor.nearest_step(self.charts.views[0], self._chart_options.x, message.x)
            )

    def _move_cursor(self, columns: float) -> None:
        charts = self.charts
        if charts.cursor is None or not charts.views:
            return
        view, axis, across = charts.views[0], self._chart_options.x, charts.plot_columns
        self._put_cursor(cursor.moved(view, axis, charts.cursor, columns, self._x_shown(), across))

    def _put_cursor(self, step: float | None) -> None:
        charts, whole = self.charts, self._x_extent()
        if step is None:
            return
        was_shown, charts.cursor = charts.cursor is not None, step
        if not was_shown:
            self.draw_keys()
        position = self._cursor_position()
        if whole is not None and position is not None:
            self._set_options(viewport=self._chart_viewport.with_x(position, whole))
        else:
            self._redraw_charts()

    def _cursor_position(self) -> float | None:
        """The position of the cursor in the viewport's units; None if there is no cursor, or its
        step has no position on this axis."""
        charts = self.charts
        if charts.cursor is None or not charts.views:
            return None
        x = x_of_step(charts.views[0], self._chart_options.x, charts.cursor)
        if self._chart_options.log_x:
            x = float(np.log10(x)) if x > 0 else float("nan")
        return x if np.isfinite(x) else None

    # -- runs and metrics -----------------------------------------------------------------------

    def action_only(self) -> None:
        """Hide the overlaid runs, or show them again."""
        if not self.session.overlay:
            key = self.session.keymap.shown_by_id("mark_run")
            self.session.show_notice(f"no runs are overlaid: mark runs in the list with {key}")
            return
        self._overlay_hidden = not self._overlay_hidden
        self.show_charts()

    def action_find(self) -> None:
        """Ask for a metric by name and pin or unpin it."""
        from tui_trainer.tui.dashboard.find_metric import FindMetric

        charts = self.charts
        if charts.views:
            self.app.push_screen(FindMetric(charts.metrics, charts.pins), self._chart_found)

    def _chart_found(self, chosen: str | None) -> None:
        charts = self.charts
        metric = next((one for one in charts.metrics if one.id == chosen), None)
        if metric is None:
            return
        if metric.id in charts.pins:
            charts.pins = tuple(pin for pin in charts.pins if pin != metric.id)
        elif metric is not charts.metrics[0]:
            charts.pins = (metric.id, *charts.pins)
        self.show_charts()
        pane = charts.scroll_to_metric(metric)
        if pane is not None:
            pane.focus()

    def action_export(self) -> None:
        """Export the visible charts in a thread."""
        from tui_trainer.tui.charts.svg import SvgColours
        from tui_trainer.tui.run_charts.export import export

        plots = self.charts.plots()
        if not plots:
            self.session.show_notice("there is no chart to export yet", "warning")
            return
        session = self.session
        palette, marks = session.palette, session.marks
        colours = session.themes.files[session.theme].colours
        background = SvgColours(colours.surface, colours.text, colours.faint)
        # With averages of their own, as another thread uses them.
        plots = [replace(plot, averages=SmoothingCache()) for plot in plots]

        def write() -> None:
            report, failed = export(plots, palette, background, marks)
            session.post_message(NoticePosted(report, "error" if failed else "information"))

        in_background("export", write)

    # -- internal ------------------------------------------------------------

    @property
    def _chart_options(self) -> ChartOptions:
        return self.charts.options

    @property
    def _chart_viewport(self) -> Viewport:
        return self.charts.options.viewport

    def _x_extent(self) -> Range | None:
        """The whole range of the x axis, in the viewport's units."""
        return extent(self.charts.views, self._chart_options.x, self._chart_options.log_x)

    def _x_shown(self) -> Range | None:
        """The visible part of the x axis, in the axis' own units; None for all of it."""
        whole = self._x_extent()
        shown = None if whole is None else self._chart_viewport.shown(whole)
        if shown is None or not self._chart_options.log_x:
            return shown
        return 10.0 ** shown[0], 10.0 ** shown[1]

    def times_shown(self) -> Viewport:
        """The visible part of the run, as a viewport over the time of day."""
        shown, views = self._x_shown(), self.charts.views
        if shown is None or not views:
            return ALL
        x, times = x_of(views[0], self._chart_options.x), views[0].train.column("time")
        count = min(len(x), len(times))
        x, times = x[:count], times[:count]
        seen = times[(x >= shown[0]) & (x <= shown[1]) & np.isfinite(times)]
        if len(seen) < 2 or seen.max() <= seen.min():
            return ALL
        low, high = float(seen.min()), float(seen.max())
        return Viewport(high - low, high, self._chart_viewport.follows)

    def _set_smoothing(self, wanted: Smoothing) -> None:
        self._set_options(smoothing=wanted)
        if wanted == "auto":
            weight = self.charts.weight
            text = f"auto ({weight_text(weight) if weight else 'off: few points'})"
        else:
            text = f"{wanted:g}" if wanted else "off"
        self.session.show_notice(f"smoothing: {text}")

    def _set_options(self, **changed: object) -> None:
        self.charts.set(replace(self._chart_options, **changed))  # type: ignore[arg-type]

    def _redraw_charts(self) -> None:
        self.charts.set(self._chart_options)
