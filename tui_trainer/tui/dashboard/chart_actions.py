"""What the keys and the mouse do to the charts of the dashboard."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tui_trainer.tui.charts.smoothing import SmoothingCache, weight_text
from tui_trainer.tui.messages import NoticePosted
from tui_trainer.tui.run_charts import cursor
from tui_trainer.tui.run_charts.plot import SMOOTHINGS, ChartOptions, Smoothing, place_of
from tui_trainer.tui.run_charts.viewport import ALL, Range, Viewport
from tui_trainer.tui.run_charts.x_axis import available, extent, x_of
from tui_trainer.tui.startup.services import in_background
from tui_trainer.watch.snapshots import FolderView, RunView

if TYPE_CHECKING:
    from tui_trainer.tui.dashboard.screen import DashboardScreen
    from tui_trainer.tui.run_charts.chart_grid import ChartGrid

_SMOOTHEST = 0.999
_FINER = 1.5  # the share of the new value shrinks or grows by it


class ChartActions:
    """The actions on the charts; nothing happens where no run is shown."""

    def __init__(self, page: DashboardScreen) -> None:
        self._page = page
        self._alone = False

    @property
    def charts(self) -> ChartGrid:
        return self._page.charts

    # -- lines and axes -------------------------------------------------------------------------

    def smooth(self) -> None:
        """The next of the usual smoothings; after the strongest the automatic one."""
        present = self._options.smoothing
        least = -1.0 if present == "auto" else present + 1e-9
        self._smooth(next((weight for weight in SMOOTHINGS if weight > least), "auto"))

    def smoother(self, direction: int) -> None:
        """A little more or less than now, even steps of the share that a new value has."""
        share = (1 - self.charts.weight) * (1 / _FINER if direction > 0 else _FINER)
        weight = round(1 - share, 4)
        self._smooth(min(weight, _SMOOTHEST) if weight > 0.05 else 0.0)

    def raw(self) -> None:
        """The values under the smoothed lines, or these alone."""
        self._set(raw=not self._options.raw)

    def log_y(self) -> None:
        self._set(log_y=not self._options.log_y)

    def log_x(self) -> None:
        self._set(log_x=not self._options.log_x, viewport=ALL)

    def x_axis(self) -> None:
        """The next axis on which the runs have something."""
        axes = available(self.charts.views)
        here = self._options.x
        at = axes.index(here) if here in axes else -1
        self._set(x=axes[(at + 1) % len(axes)], viewport=ALL)

    # -- zoom and pan ---------------------------------------------------------------------------

    def zoom(self, direction: int, at: float | None = None) -> None:
        """About the pointer, else about the cursor, else about the live end."""
        whole = self._whole()
        if whole is None:
            return
        spot = self._cursor_place()
        shown = self._viewport.shown(whole) or whole
        if at is None and spot is not None and shown[0] <= spot <= shown[1]:
            at = (spot - shown[0]) / (shown[1] - shown[0])
        self._set(viewport=self._viewport.zoomed(direction, whole, at))

    def pan(self, direction: int) -> None:
        """The cursor by a step or a column, else the view by a quarter."""
        whole = self._whole()
        if self.charts.cursor is not None:
            self._move_cursor(direction)
        elif whole is not None:
            self._set(viewport=self._viewport.panned(direction, whole))

    def leap(self, direction: int) -> None:
        """The cursor by ten columns, else the view by its width."""
        whole = self._whole()
        if self.charts.cursor is not None:
            self._move_cursor(direction * cursor.LEAP)
        elif whole is not None:
            self._set(viewport=self._viewport.moved(direction, whole))

    def edge(self, last: bool) -> None:
        """The cursor, else the view, to the first or last step."""
        charts, whole = self.charts, self._whole()
        if charts.cursor is not None:
            self._put(cursor.end_of(charts.views[0], self._options.x, self._shown(), last))
        elif whole is not None and self._viewport.width is not None:
            high = whole[1] if last else whole[0] + self._viewport.width
            moved = Viewport(self._viewport.width, high, False).settled(whole)
            self._set(viewport=moved)

    def drag(self, share: float) -> None:
        """The view along with the pointer."""
        whole = self._whole()
        if whole is not None:
            self._set(viewport=self._viewport.moved(share, whole))

    # -- cursor ---------------------------------------------------------------------------------

    def toggle_cursor(self) -> None:
        """A cursor at the newest step that is seen, or none."""
        charts = self.charts
        if charts.cursor is not None:
            self.drop_cursor()
        elif charts.views:
            self._put(cursor.end_of(charts.views[0], self._options.x, self._shown(), True))

    def drop_cursor(self) -> None:
        """Takes the cursor away."""
        self.charts.cursor = None
        self._redraw()

    def point_at(self, x: float) -> None:
        """Puts the cursor to the step nearest to a place on the x axis."""
        if self.charts.views:
            self._put(cursor.at_place(self.charts.views[0], self._options.x, x))

    def _move_cursor(self, columns: float) -> None:
        charts = self.charts
        if charts.cursor is None or not charts.views:
            return
        view, axis, across = charts.views[0], self._options.x, charts.across
        self._put(cursor.moved(view, axis, charts.cursor, columns, self._shown(), across))

    def _put(self, step: float | None) -> None:
        charts, whole = self.charts, self._whole()
        if step is None:
            return
        charts.cursor = step
        spot = self._cursor_place()
        if whole is not None and spot is not None:
            self._set(viewport=self._viewport.with_place(spot, whole))
        else:
            self._redraw()

    def _cursor_place(self) -> float | None:
        """Where the cursor stands, in the viewport's units."""
        charts = self.charts
        if charts.cursor is None or not charts.views:
            return None
        place = place_of(charts.views[0], self._options.x, charts.cursor)
        if self._options.log_x:
            place = float(np.log10(place)) if place > 0 else float("nan")
        return place if np.isfinite(place) else None

    # -- runs and metrics -----------------------------------------------------------------------

    def others(self, view: FolderView, run: RunView) -> tuple[RunView, ...]:
        """The runs laid over the pinned one, in the order in which they were marked."""
        if self._alone:
            return ()
        found = {other.summary.path: other for other in view.others}
        wanted = [path for path in self._page.session.overlay if path != run.summary.path]
        return tuple(found[path] for path in wanted if path in found)

    def only_this_run(self) -> None:
        """Leaves the others out, or lays them over the run again."""
        page = self._page
        if not page.session.overlay:
            page.session.tell("mark runs on the list with space to lay them over this one")
            return
        self._alone = not self._alone
        page.show_charts()

    def find(self) -> None:
        """Asks for a metric by name and brings it to the front."""
        from tui_trainer.tui.dashboard.find_metric import FindMetric

        charts = self.charts
        if charts.views:
            self._page.app.push_screen(FindMetric(charts.metrics, charts.pins), self._found)

    def _found(self, chosen: str | None) -> None:
        charts = self.charts
        metric = next((one for one in charts.metrics if one.id == chosen), None)
        if metric is None:
            return
        if metric.id in charts.pins:
            charts.pins = tuple(pin for pin in charts.pins if pin != metric.id)
        elif metric is not charts.metrics[0]:
            charts.pins = (metric.id, *charts.pins)
        self._page.show_charts()
        pane = charts.bring(metric)
        if pane is not None:
            pane.focus()

    def export(self) -> None:
        """Writes what is seen, in a thread."""
        from tui_trainer.tui.charts.svg import SvgColours
        from tui_trainer.tui.run_charts.export import export

        page, plots = self._page, self.charts.plots()
        if not plots:
            page.session.tell("there is no chart to export", "warning")
            return
        app = page.session
        palette, marks = app.palette, app.marks
        colours = app.themes.files[app.theme].colours
        ground = SvgColours(colours.surface, colours.text, colours.faint)
        plots = [replace(plot, averages=SmoothingCache()) for plot in plots]  # of the thread's own

        def write() -> None:
            said, failed = export(plots, palette, ground, marks)
            app.post_message(NoticePosted(said, "error" if failed else "information"))

        in_background("export", write)

    # -- within ---------------------------------------------------------------------------------

    @property
    def _options(self) -> ChartOptions:
        return self.charts.options

    @property
    def _viewport(self) -> Viewport:
        return self.charts.options.viewport

    def _whole(self) -> Range | None:
        """Everything that the x axis has, in the viewport's units."""
        return extent(self.charts.views, self._options.x, self._options.log_x)

    def _shown(self) -> Range | None:
        """The part of the x axis that is seen, in its own units; None for all of it."""
        whole = self._whole()
        shown = None if whole is None else self._viewport.shown(whole)
        if shown is None or not self._options.log_x:
            return shown
        return 10.0 ** shown[0], 10.0 ** shown[1]

    def times_shown(self) -> Viewport:
        """What is seen of the run, as a view of the time of day."""
        shown, views = self._shown(), self.charts.views
        if shown is None or not views:
            return ALL
        x, times = x_of(views[0], self._options.x), views[0].train.column("time")
        count = min(len(x), len(times))
        x, times = x[:count], times[:count]
        seen = times[(x >= shown[0]) & (x <= shown[1]) & np.isfinite(times)]
        if len(seen) < 2 or seen.max() <= seen.min():
            return ALL
        low, high = float(seen.min()), float(seen.max())
        return Viewport(high - low, high, self._viewport.follows)

    def _smooth(self, wanted: Smoothing) -> None:
        self._set(smoothing=wanted)
        if wanted == "auto":
            weight = self.charts.weight
            said = f"auto ({weight_text(weight) if weight else 'off: few points'})"
        else:
            said = f"{wanted:g}" if wanted else "off"
        self._page.session.tell(f"smoothing {said}")

    def _set(self, **changed: object) -> None:
        self.charts.set(replace(self._options, **changed))  # type: ignore[arg-type]

    def _redraw(self) -> None:
        self.charts.set(self._options)
