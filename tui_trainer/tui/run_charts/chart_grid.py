"""The charts of a run: the first one large, the others in a grid below it, in pages."""

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
from tui_trainer.tui.run_charts.readout_items import items_of
from tui_trainer.tui.run_charts.run_colours import RunColours
from tui_trainer.watch.snapshots import RunView

_MOST_PANES = 24
_LEAST_COLUMNS, _LEAST_ROWS = 44, 9  # of a chart in a grid
_PAUSE_SECONDS = 0.001  # between two charts, in which keys are handled


@dataclass(frozen=True)
class GridShape:
    """Columns and rows of the grid below the first chart, or of the grid of all charts."""

    columns: int
    rows: int

    @property
    def panes(self) -> int:
        return self.columns * self.rows


def shape_of(count: int, columns: int, rows: int) -> GridShape:
    """The largest grid for `count` charts within the given size, with the fewest empty cells."""
    if count < 1 or columns < 1 or rows < 1:
        return GridShape(0, 0)
    columns, rows = min(columns, count), min(rows, _MOST_PANES // columns)
    rows = min(rows, -(-count // columns))
    return GridShape(min(columns, -(-count // rows)), rows)


class ChartGrid(Vertical):
    """The position of each metric, and how it is drawn."""

    def __init__(self, options: ChartOptions, palette: Palette, marks: Marks) -> None:
        super().__init__(id="charts")
        self.options = options
        self.views: tuple[RunView, ...] = ()  # the main run first
        self.metrics: tuple[Metric, ...] = metrics_of(())
        self.pins: tuple[str, ...] = ()  # ids of metrics that follow the first one
        self.cursor: float | None = None  # a step of the main run
        self.one_chart = False  # whether only one chart is shown
        self.single: int | None = None  # the index of that chart's metric; None for the first
        self.even = False  # whether all charts have the same size
        self.one_by_one = False  # whether charts are drawn with pauses, as while a run is read
        self._first = 1  # index of the first metric below the large chart
        self._shape = GridShape(1, 1)
        self._shown: dict[ChartPane, Metric] = {}
        self._averages = SmoothingCache()
        self._colours = RunColours()
        self._palette, self._marks = palette, marks
        self._drawn: tuple[object, ...] = ()  # what decides which charts are shown
        self._undrawn: list[ChartPane] = []
        self._pinned: Path | None = None

    def compose(self) -> ComposeResult:
        yield ChartPane(id="loss")
        yield WrappedText(id="chart-position")
        with Container(id="lower"):
            yield ChartPane(id="chart0", classes="lower")
        yield Readout()

    def on_mount(self) -> None:
        for pane in self.query(ChartPane):
            pane.use(self._palette, self._marks)

    def on_resize(self) -> None:
        self.place_charts()

    def use(self, palette: Palette, marks: Marks) -> None:
        """Use the colours of a theme, and braille or ASCII characters."""
        self._palette, self._marks = palette, marks
        for pane in self.query(ChartPane):
            pane.use(palette, marks)
        self._show_readout()

    # -- what is shown ----------------------------------------------------------------------------

    def show(self, views: tuple[RunView, ...]) -> None:
        """Draw all charts for a newer state of the runs."""
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
        """Draw everything with other options."""
        self.options = options
        self._draw(list(self._shown))

    def place_charts(self) -> None:
        """Assign the visible metrics to panes, and draw."""
        if not self.is_mounted or not self.size.width:
            return
        self._shape = self._largest_grid()
        self._align_page()
        lower = self.query_one("#lower", Container)
        self._mount_panes(lower)
        panes = list(lower.query(ChartPane))
        self._shown = {}
        leading = self.query_one("#loss", ChartPane)
        leading.display = self.single is None and not self.even
        if leading.display:
            self._shown[leading] = self.metrics[0]
        for index, pane in enumerate(panes):
            at = self._first + index
            pane.display = index < self._shape.panes and at < len(self.metrics)
            if pane.display:
                self._shown[pane] = self.metrics[at]
        lower.display = self._shape.panes > 0
        if self._shape.panes:
            lower.styles.grid_size_columns = self._shape.columns
            lower.styles.grid_size_rows = self._shape.rows
        self._show_position()
        self._draw(list(self._shown))
        self.call_after_refresh(self._draw, list(self._shown))

    def _largest_grid(self) -> GridShape:
        """The largest grid that fits."""
        width, height = self.size
        count = len(self.metrics)
        if self.single is not None:
            return GridShape(1, 1)
        if self.one_chart:
            return GridShape(0, 0)
        if self.even:
            return shape_of(count, max(1, width // _LEAST_COLUMNS), max(1, height // _LEAST_ROWS))
        if self.screen.has_class("-large"):
            return shape_of(count - 1, max(2, width // _LEAST_COLUMNS), 2)
        return shape_of(count - 1, 1, 1)

    def _align_page(self) -> None:
        """Move the first visible chart to the start of a page."""
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

    def _show_position(self) -> None:
        """Show which charts are visible, unless all are."""
        label = self.query_one("#chart-position", WrappedText)
        seen, count = self._shape.panes, len(self.metrics)
        free = count - (0 if self.even or self.single is not None else 1)
        label.display = seen > 0 and (self.single is not None or not self.even or free > seen)
        if not seen or free <= seen:
            label.update("")
            return
        first, last = self._first + 1, min(self._first + seen, count)
        position = f"chart {first}" if first == last else f"charts {first}–{last}"
        label.update(Content(f"{position} of {count}"))

    # -- moving among the charts -----------------------------------------------------------------

    def turn(self, pages: int) -> None:
        """Show the next page of charts, or an earlier one, wrapping around."""
        count = len(self.metrics)
        if self.one_chart:
            following = ((self.single or 0) + pages) % count
            self.single = following or None
        else:
            base, size = (0 if self.even else 1), max(1, self._shape.panes)
            whole = max(1, -(-(count - base) // size))
            self._first = base + (((self._first - base) // size + pages) % whole) * size
        self.place_charts()

    def next_chart(self) -> ChartPane | None:
        """Show the next chart; with several below the first, return the next pane to focus."""
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

    def scroll_to_metric(self, metric: Metric) -> ChartPane | None:
        """Scroll to a metric and return its pane."""
        at = next((i for i, one in enumerate(self.metrics) if one.id == metric.id), 0)
        if self.one_chart:
            self.single = at or None
        elif at or self.even:
            self._first = at
        self.place_charts()
        return next((pane for pane, one in self._shown.items() if one.id == metric.id), None)

    def maximise(self, pane: ChartPane | None) -> None:
        """Show only one pane's metric; with None, as many as before."""
        self.one_chart = pane is not None
        metric = self._shown.get(pane) if pane is not None else None
        self.single = (self.metrics.index(metric) or None) if metric in self.metrics else None
        self.place_charts()

    def metric_at(self, pane: Widget | None) -> Metric:
        """The metric of a pane; the first one for any other widget."""
        found = self._shown.get(pane) if isinstance(pane, ChartPane) else None
        return found or next(iter(self._shown.values()), self.metrics[0])

    def panes(self) -> list[ChartPane]:
        """The visible panes, in order."""
        return list(self._shown)

    def plots(self) -> list[Plot]:
        """The visible plots, in order."""
        return [self._plot(metric) for metric in self._shown.values()] if self.views else []

    @property
    def weight(self) -> float:
        """The smoothing weight (0..1) of the first visible smoothed line; 0 for none."""
        return next((plot.weight() for plot in self.plots() if plot.metric.smooths), 0.0)

    @property
    def plot_columns(self) -> int:
        """Columns of the first chart's plot."""
        return next((pane.plot_columns for pane in self._shown), 1)

    # -- drawing --------------------------------------------------------------------------------

    def show_newest(self, views: tuple[RunView, ...], *, lines: bool) -> None:
        """Show a newer state of the same runs in the first chart only: all of it with `lines`,
        else the newest value in the title."""
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
        self._undrawn = []
        if not self.views or not self._visible():
            return
        if self.one_by_one:
            self._undrawn = panes
            self.set_timer(_PAUSE_SECONDS, self._draw_next)
            return
        for pane in panes:
            self._draw_pane(pane)
        self._show_readout()

    def _draw_next(self) -> None:
        pane, self._undrawn = next(iter(self._undrawn), None), self._undrawn[1:]
        if pane is not None:
            self._draw_pane(pane)
        if self._undrawn:
            self.set_timer(_PAUSE_SECONDS, self._draw_next)
        else:
            self._show_readout()

    def _draw_pane(self, pane: ChartPane) -> None:
        if self.views and pane in self._shown and pane.is_attached:
            pane.show(self._plot(self._shown[pane]))

    def _plot(self, metric: Metric) -> Plot:
        slots = self._colours.of([view.summary.path for view in self.views])
        view, others = self.views[0], self.views[1:]
        return Plot(view, metric, self.options, others, slots, self.cursor, self._averages)

    def _show_readout(self) -> None:
        if not self.is_mounted:
            return
        readout = self.query_one(Readout)
        readout.display = bool(self.views) and (self.cursor is not None or len(self.views) > 1)
        if readout.display:
            shown = tuple(self._shown.values())
            focused = self.metric_at(self.screen.focused)
            readout.show(items_of(self._plot(focused), shown, self._palette))

    def _visible(self) -> bool:
        """Whether this widget and all its ancestors are displayed."""
        return all(
            node.styles.display != "none"
            for node in (self, *self.ancestors)
            if isinstance(node, Widget)
        )
