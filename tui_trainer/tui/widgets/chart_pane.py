"""A chart as a pane: redrawn only when its numbers, size or colours change, row by row."""

from __future__ import annotations

from dataclasses import replace

from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui_trainer.tui.charts.draw import draw_chart, frame_of
from tui_trainer.tui.charts.model import ChartSpec, Marks, Palette
from tui_trainer.tui.messages import ZoomAsked
from tui_trainer.tui.plots import Plot


class ChartPane(Widget):
    """Shows one `Plot`, or a `ChartSpec` of somebody else's making, through the line API."""

    can_focus = True

    def __init__(self, *, id: str, classes: str = "", marks: Marks = "braille") -> None:
        super().__init__(id=id, classes=f"pane chart {classes}".strip())
        self._marks: Marks = marks
        self._palette = Palette()
        self._plot: Plot | None = None
        self._spec = ChartSpec(title="")
        self._strips: list[Strip] = []
        self._stale = True

    def show(self, plot: Plot) -> None:
        """Takes a plot; draws it if it differs from the one shown."""
        if self._plot is not None and plot.key == self._plot.key:
            return
        self._plot = plot
        self._changed()

    def show_spec(self, spec: ChartSpec) -> None:
        """Takes a chart as it is and draws it."""
        self._plot = None
        self._spec = spec
        self._changed()

    def use(self, palette: Palette, marks: Marks) -> None:
        """Takes the colours of a theme and what draws the lines."""
        self._palette, self._marks = palette, marks
        self._changed()

    def render_line(self, y: int) -> Strip:
        """One row of the chart."""
        if self._stale:
            self._draw()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.content_size.width)

    def on_resize(self) -> None:
        self._stale = True
        self.refresh()

    def on_focus(self) -> None:
        self._changed()

    def on_blur(self) -> None:
        self._changed()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.post_message(ZoomAsked(1, self._place(event)))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.post_message(ZoomAsked(-1, self._place(event)))

    def _changed(self) -> None:
        """Draws at once where there is a place, and has only the rows repainted that differ."""
        before, size = self._strips, self.content_size
        self._stale = True
        if not self.is_attached or not size.width or not size.height:
            return
        self._draw()
        if len(before) != len(self._strips):
            self.refresh()
            return
        width, top = self.size.width, self.gutter.top
        rows = [y for y, strip in enumerate(self._strips) if strip != before[y]]
        if rows:
            self.refresh(*(Region(0, top + y, width + self.gutter.width, 1) for y in rows))

    def _draw(self) -> None:
        if self._plot is not None:
            self._spec = self._plot.spec()
        size = self.content_size
        strips = draw_chart(self._spec, size.width, size.height, self._lit(), self._marks)
        ground = self.rich_style
        self._strips = [strip.apply_style(ground) for strip in strips]
        self._stale = False

    def _lit(self) -> Palette:
        if not self.has_focus:
            return self._palette
        title = self._palette.accent + Style(bold=True)
        return replace(self._palette, title=title)

    def _place(self, event: events.MouseEvent) -> float:
        """The pointer's place along the x axis (0..1)."""
        size = self.content_size
        frame = frame_of(self._spec, size.width, size.height)
        column = event.x - self.gutter.left - frame.left
        return min(1.0, max(0.0, column / max(1, frame.columns - 1)))
