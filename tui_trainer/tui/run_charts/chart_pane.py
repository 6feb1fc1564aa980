"""A chart as a widget, redrawn row by row only when its numbers, size or colours change."""

from __future__ import annotations

from dataclasses import replace

from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui_trainer.tui.charts.canvas import RowCache
from tui_trainer.tui.charts.draw import draw_chart, draw_title, frame_of
from tui_trainer.tui.charts.model import ChartSpec, Marks, Palette
from tui_trainer.tui.messages import ChartClicked, ChartDragged, ZoomRequested
from tui_trainer.tui.run_charts.plot import Plot


class ChartPane(Widget):
    """Shows a `Plot`, or a given `ChartSpec`, through the line API."""

    can_focus = True

    def __init__(self, *, id: str, classes: str = "", marks: Marks = "braille") -> None:
        super().__init__(id=id, classes=f"pane chart {classes}".strip())
        self._marks: Marks = marks
        self._palette = Palette()
        self._plot: Plot | None = None
        self._spec = ChartSpec(title="")
        self._strips: list[Strip] = []
        self._unstyled: list[Strip] = []  # the same without the pane's background
        self._background = Style()
        self._rows = RowCache()
        self._stale = True
        self._drag_column: int | None = None  # screen column of the pointer during a drag
        self._dragged = False

    @property
    def plot(self) -> Plot | None:
        """The plot that is shown, or None."""
        return self._plot

    @property
    def plot_columns(self) -> int:
        """Columns of the plot without its axis, the unit of cursor steps."""
        size = self.content_size
        return frame_of(self._spec, size.width, size.height).columns if size.width else 1

    def show(self, plot: Plot) -> None:
        """Draw a plot if it differs from the one shown."""
        if self._plot is not None and plot.key == self._plot.key:
            return
        self._plot = plot
        self._changed()

    def show_heading(self, plot: Plot) -> None:
        """Show the newest value in the title only; the lines stay until the next `show`."""
        if self._plot is None or self._stale or not self._strips or not self.is_attached:
            self.show(plot)
            return
        title, detail = plot.heading()
        self._spec = replace(self._spec, title=title, detail=detail)
        strip = draw_title(
            self._spec, self.content_size.width, self._focused_palette(), self._marks
        )
        self._unstyled[0], self._strips[0] = strip, strip.apply_style(self._background)
        self.refresh(Region(0, self.gutter.top, self.size.width + self.gutter.width, 1))

    def show_spec(self, spec: ChartSpec) -> None:
        """Draw a chart."""
        self._plot = None
        self._spec = spec
        self._changed()

    def use(self, palette: Palette, marks: Marks) -> None:
        """Use the colours of a theme, and braille or ASCII characters."""
        self._palette, self._marks = palette, marks
        self._changed()

    def render_line(self, y: int) -> Strip:
        """One row of the chart."""
        if self._stale:
            self._draw()
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.content_size.width, self.rich_style)

    def on_resize(self) -> None:
        self._stale = True
        self.refresh()

    def notify_style_update(self) -> None:
        # A change of focus changes the background only after `on_focus` and `on_blur`.
        super().notify_style_update()
        self._changed()

    def on_focus(self) -> None:
        self._changed()

    def on_blur(self) -> None:
        self._changed()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.post_message(ZoomRequested(1, self._position(event)))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.post_message(ZoomRequested(-1, self._position(event)))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if (self._plot is not None or self._spec.lines) and event.button == 1:
            self._drag_column, self._dragged = event.screen_x, False
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._drag_column is None or event.screen_x == self._drag_column:
            return
        share = (self._drag_column - event.screen_x) / max(1, self.plot_columns - 1)
        self._drag_column, self._dragged = event.screen_x, True
        self.post_message(ChartDragged(share))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._drag_column is None:
            return
        self._drag_column = None
        self.release_mouse()
        if not self._dragged:
            size = self.content_size
            frame = frame_of(self._spec, size.width, size.height)
            self.post_message(ChartClicked(frame.x.value(self._position(event))))

    def _changed(self) -> None:
        """Draw at once if the widget has a size, and repaint only the rows that differ."""
        before, size = self._strips, self.content_size
        self._stale = True
        if not self.is_attached or not size.width or not size.height:
            return
        self._draw()
        if len(before) != len(self._strips):
            self.refresh()
            return
        width, top = self.size.width, self.gutter.top
        rows = [y for y, strip in enumerate(self._strips) if strip is not before[y]]
        if rows:
            self.refresh(*(Region(0, top + y, width + self.gutter.width, 1) for y in rows))

    def _draw(self) -> None:
        if self._plot is not None:
            self._spec = self._plot.spec()
        size, background = self.content_size, self.rich_style
        palette = self._focused_palette()
        strips = draw_chart(self._spec, size.width, size.height, palette, self._marks, self._rows)
        before = self._unstyled if background == self._background else []
        styled = self._strips
        self._strips = [
            styled[y] if y < len(before) and strip is before[y] else strip.apply_style(background)
            for y, strip in enumerate(strips)
        ]
        self._unstyled, self._background = strips, background
        self._stale = False

    def _focused_palette(self) -> Palette:
        if not self.has_focus:
            return self._palette
        title = self._palette.accent + Style(bold=True)
        return replace(self._palette, title=title)

    def _position(self, event: events.MouseEvent) -> float:
        """The pointer's position along the x axis, 0..1."""
        size = self.content_size
        frame = frame_of(self._spec, size.width, size.height)
        column = event.x - self.gutter.left - frame.left
        return min(1.0, max(0.0, column / max(1, frame.columns - 1)))
