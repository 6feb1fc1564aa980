"""The charts of a run: the leading one large, the others in a grid below it, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widget import Widget

from tui_trainer.tui.charts.model import Marks, Palette
from tui_trainer.tui.charts.smoothing import SmoothingCache
from tui_trainer.tui.common.wrapped_text import WrappedText
from tui_trainer.tui.run_charts.chart_pane import ChartPane
from tui_trainer.tui.run_charts.metrics import Metric, metrics_of
from tui_trainer.tui.run_charts.plot import ChartOptions, Plot
from tui_trainer.tui.run_charts.readout import Readout
from tui_trainer.tui.run_charts.readout_items import chips_of
from tui_trainer.tui.run_charts.run_colours import RunColours
from tui_trainer.watch.snapshots import RunView

_MOST_PANES = 24
_LEAST_COLUMNS, _LEAST_ROWS = 44, 9  # of a chart in a grid
_BREATH_SECONDS = 0.001  # between two charts, in which keys are heard


@dataclass(frozen=True)
class GridShape:
    """Columns and rows of the grid below the leading chart, or of all charts."""

    columns: int
    rows: int

    @property
    def panes(self) -> int:
        return self.columns * self.rows


def shape_of(count: int, columns: int, rows: int) -> GridShape:
    """The grid for `count` charts that is at most so large, with as few empty places as it can."""
    if count < 1 or columns < 1 or rows < 1:
        return GridShape(0, 0)
    columns, rows = min(columns, count), min(rows, _MOST_PANES // columns)
    rows = min(rows, -(-count // columns))
    return GridShape(min(columns, -(-count // rows)), rows)


class ChartGrid(Vertical):
    """Which metrics stand where, and how they are drawn.

    `lone` is set where there is room or wish for one chart only; `single` is then the place of
    the metric that stands for the leading one. `even` gives all charts the same size. While a
    long run is read they are drawn `one_by_one`, as each takes milliseconds then.
    """

    def __init__(self, options: ChartOptions, palette: Palette, marks: Marks) -> None:
        super().__init__(id="charts")
        self.options = options
        self.views: tuple[RunView, ...] = ()
        self.metrics: tuple[Metric, ...] = metrics_of(())
        self.pins: tuple[str, ...] = ()
        self.cursor: float | None = None
        self.lone = self.even = self.one_by_one = False
        self.single: int | None = None
        self._first = 1
        self._shape = GridShape(1, 1)
        self._shown: dict[ChartPane, Metric] = {}
        self._averages = SmoothingCache()
        self._slots = RunColours()
        self._palette, self._marks = palette, marks
        self._drawn: tuple[object, ...] = ()
        self._waiting: list[ChartPane] = []
        self._pinned: Path | None = None

    def compose(self) -> ComposeResult:
        yield ChartPane(id="loss")
        yield WrappedText(id="place")
        with Container(id="lower"):
            yield ChartPane(id="chart0", classes="lower")
        yield Readout()

    def on_mount(self) -> None:
        for pane in self.query(ChartPane):
            pane.use(self._palette, self._marks)

    def on_resize(self) -> None:
        self.place_charts()

    def use(self, palette: Palette, marks: Marks) -> None:
        """Takes the colours of a theme and what draws the lines."""
        self._palette, self._marks = palette, marks
        for pane in self.query(ChartPane):
            pane.use(palette, marks)
        self._read_out()

    # -- what is shown ----------------------------------------------------------------------------

    def show(self, views: tuple[RunView, ...]) -> None:
        """Takes a newer state of the runs and draws all charts."""
        self.views = views
        if not self.is_mounted:
            return
        metrics = metrics_of(views, self.pins)
        drawn = (metrics, tuple(view.summary.path for view in views), self._visible())
        if views and views[0].summary.path != self._pinned:
            self._pinned, self.cursor = views[0].summary.path, None
        if drawn != self._drawn:
            self._drawn, self.metrics = drawn, metrics
            self.place_charts()
            return
        self._draw(list(self._shown))

    def set(self, options: ChartOptions) -> None:
        """Draws everything in another way."""
        self.options = options
        self._draw(list(self._shown))

    def place_charts(self) -> None:
        """Gives every metric that has a place its pane, and draws."""
        if not self.is_mounted or not self.size.width:
            return
        self._shape = self._wanted()
        self._settle()
        lower = self.query_one("#lower", Container)
        self._mount_panes(lower)
        panes = list(lower.query(ChartPane))
        self._shown = {}
        leading = self.query_one("#loss", ChartPane)
        leading.display = self.single is None and not self.even
        if leading.display:
            self._shown[leading] = self.metrics[0]
        for index, pane in enumerate(panes):
            place = self._first + index
            pane.display = index < self._shape.panes and place < len(self.metrics)
            if pane.display:
                self._shown[pane] = self.metrics[place]
        lower.display = self._shape.panes > 0
        if self._shape.panes:
            lower.styles.grid_size_columns = self._shape.columns
            lower.styles.grid_size_rows = self._shape.rows
        self._say_place()
        self._draw(list(self._shown))
        self.call_after_refresh(self._draw, list(self._shown))

    def _wanted(self) -> GridShape:
        """The grid that there is room for."""
        width, height = self.size
        count = len(self.metrics)
        if self.single is not None:
            return GridShape(1, 1)
        if self.lone:
            return GridShape(0, 0)
        if self.even:
            return shape_of(count, max(1, width // _LEAST_COLUMNS), max(1, height // _LEAST_ROWS))
        if self.screen.has_class("-large"):
            return shape_of(count - 1, max(2, width // _LEAST_COLUMNS), 2)
        return shape_of(count - 1, 1, 1)

    def _settle(self) -> None:
        """Puts the first chart of the page where a page begins."""
        base = 0 if self.even else 1
        if self.single is not None:
            self.single = min(self.single, len(self.metrics) - 1)
            self._first = self.single
            return
        size = max(1, self._shape.panes)
        last = max(0, len(self.metrics) - 1 - base) // size
        page = min(max(0, self._first - base) // size, last)
        self._first = base + page * size

    def _mount_panes(self, lower: Container) -> None:
        have = len(lower.query(ChartPane))
        fresh = [
            ChartPane(id=f"chart{index}", classes="lower", marks=self._marks)
            for index in range(have, self._shape.panes)
        ]
        for pane in fresh:
            pane.use(self._palette, self._marks)
        if fresh:
            lower.mount(*fresh)

    def _say_place(self) -> None:
        """Which of the charts are seen, where they are not all."""
        label = self.query_one("#place", WrappedText)
        seen, count = self._shape.panes, len(self.metrics)
        free = count - (0 if self.even or self.single is not None else 1)
        label.display = seen > 0 and (self.single is not None or not self.even or free > seen)
        if not seen or free <= seen:
            label.update("")
            return
        first, last = self._first + 1, min(self._first + seen, count)
        places = f"chart {first}" if first == last else f"charts {first}–{last}"
        label.update(Content(f"{places} of {count}"))

    # -- moving among the charts -----------------------------------------------------------------

    def turn(self, pages: int) -> None:
        """The next page of charts, or an earlier one, going round."""
        count = len(self.metrics)
        if self.lone:
            following = ((self.single or 0) + pages) % count
            self.single = following or None
        else:
            base, size = (0 if self.even else 1), max(1, self._shape.panes)
            whole = max(1, -(-(count - base) // size))
            self._first = base + (((self._first - base) // size + pages) % whole) * size
        self.place_charts()

    def next_chart(self) -> ChartPane | None:
        """The next chart in the place of the one below; with several, the one to be looked at."""
        if self._shape.panes <= 1:
            self.turn(1)
            return None
        panes = [pane for pane in self._shown if pane.id != "loss"]
        focused = self.screen.focused
        at = panes.index(focused) + 1 if focused in panes else 0
        if at >= len(panes):
            self.turn(1)
            at = 0
        return panes[at]

    def bring(self, metric: Metric) -> ChartPane | None:
        """Shows a metric where it has its place; gives its pane."""
        place = next((i for i, one in enumerate(self.metrics) if one.id == metric.id), 0)
        if self.lone:
            self.single = place or None
        elif place or self.even:
            self._first = place
        self.place_charts()
        return next((pane for pane, one in self._shown.items() if one.id == metric.id), None)

    def alone(self, pane: ChartPane | None) -> None:
        """Shows one pane's metric only, or as many as before."""
        self.lone = pane is not None
        metric = self._shown.get(pane) if pane is not None else None
        self.single = (self.metrics.index(metric) or None) if metric in self.metrics else None
        self.place_charts()

    def metric_at(self, pane: Widget | None) -> Metric:
        """The metric of a pane, the leading one of any other widget."""
        found = self._shown.get(pane) if isinstance(pane, ChartPane) else None
        return found or next(iter(self._shown.values()), self.metrics[0])

    def panes(self) -> list[ChartPane]:
        """The panes that are seen, in order."""
        return list(self._shown)

    def plots(self) -> list[Plot]:
        """What is seen, in order."""
        return [self._plot(metric) for metric in self._shown.values()] if self.views else []

    @property
    def weight(self) -> float:
        """The weight of the past in the first smoothed line that is seen; 0 for none."""
        return next((plot.weight() for plot in self.plots() if plot.metric.smooths), 0.0)

    @property
    def across(self) -> int:
        """Columns of the first chart's plot."""
        return next((pane.across for pane in self._shown), 1)

    # -- drawing --------------------------------------------------------------------------------

    def show_newest(self, views: tuple[RunView, ...], *, lines: bool) -> None:
        """Takes a newer state of the same runs and shows it in the leading chart alone: with
        `lines` all of it, else the newest value in the title."""
        if not self.is_mounted or self.cursor is not None or len(views) != 1 or not self._drawn:
            self.show(views)
            return
        self.views = views
        leading = list(self._shown)[:1]
        if lines or any(pane.plot is None for pane in leading):
            self._draw(leading)
        elif self._visible():
            for pane in leading:
                pane.show_heading(self._plot(self._shown[pane]))

    def _draw(self, panes: list[ChartPane]) -> None:
        self._waiting = []
        if not self.views or not self._visible():
            return
        if self.one_by_one:
            self._waiting = panes
            self.set_timer(_BREATH_SECONDS, self._draw_next)
            return
        for pane in panes:
            self._draw_pane(pane)
        self._read_out()

    def _draw_next(self) -> None:
        pane, self._waiting = next(iter(self._waiting), None), self._waiting[1:]
        if pane is not None:
            self._draw_pane(pane)
        if self._waiting:
            self.set_timer(_BREATH_SECONDS, self._draw_next)
        else:
            self._read_out()

    def _draw_pane(self, pane: ChartPane) -> None:
        if self.views and pane in self._shown and pane.is_attached:
            pane.show(self._plot(self._shown[pane]))

    def _plot(self, metric: Metric) -> Plot:
        slots = self._slots.of([view.summary.path for view in self.views])
        view, others = self.views[0], self.views[1:]
        return Plot(view, metric, self.options, others, slots, self.cursor, self._averages)

    def _read_out(self) -> None:
        if not self.is_mounted:
            return
        readout = self.query_one(Readout)
        readout.display = bool(self.views) and (self.cursor is not None or len(self.views) > 1)
        if readout.display:
            seen = tuple(self._shown.values())
            looked_at = self.metric_at(self.screen.focused)
            readout.show(chips_of(self._plot(looked_at), seen, self._palette))

    def _visible(self) -> bool:
        """Whether the stylesheet shows this part of the screen."""
        return all(
            node.styles.display != "none"
            for node in (self, *self.ancestors)
            if isinstance(node, Widget)
        )
