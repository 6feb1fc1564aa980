"""One chart, drawn: title, axes, lines, marks."""

from __future__ import annotations

import numpy as np
from rich.style import Style
from textual.strip import Strip

from tui_trainer.tui.charts import bins, layout, raster, text
from tui_trainer.tui.charts.canvas import Canvas, line_of
from tui_trainer.tui.charts.layout import Frame
from tui_trainer.tui.charts.model import ChartSpec, Line, Mark, MarkKind, Marks, Palette

_LAYERS = {"raw": 0, "series": 1, "smooth": 2, "validation": 3}
# Where marks share a column the first of these wins; frequent kinds are thinned.
_RANK: tuple[MarkKind, ...] = ("advice", "resumed", "learning_rate", "checkpoint", "evaluation")
_THINNED = ("checkpoint", "evaluation")
_UP = {"braille": "▲", "ascii": "^"}
_DOWN = {"braille": "▼", "ascii": "v"}
_POINT = {"braille": "◆", "ascii": "o"}
_TOKENS = {
    "braille": {"raw": "┄", "smooth": "━", "series": "━", "validation": "◆"},
    "ascii": {"raw": ":", "smooth": "-", "series": "-", "validation": "o"},
}


def draw_chart(
    spec: ChartSpec, width: int, height: int, palette: Palette, marks: Marks = "braille"
) -> list[Strip]:
    """The chart as `height` strips of exactly `width` cells; never raises for any numbers.

    Small sizes lose, in this order, the tick labels, the axis, the gutter and the plot.
    """
    if width < 1 or height < 1:
        return [Strip.blank(max(width, 0)) for _ in range(max(height, 0))]
    with np.errstate(all="ignore"):
        frame, lines = _prepare(spec, width, height)
        canvas = Canvas(width, height)
        title = _title(spec, width, palette, marks)
        if not any(len(line.x) and bool(np.isfinite(line.y).any()) for line in lines):
            _say_empty(canvas, spec, frame, palette)
        elif height > 1:
            _draw_axes(canvas, spec, frame, palette, marks)
            _draw_lines(canvas, spec, frame, lines, palette, marks)
            _draw_cursor(canvas, spec, frame, palette, marks)
    rows = canvas.strips(spec.dimmed)
    rows[0] = title
    return rows


def frame_of(spec: ChartSpec, width: int, height: int) -> Frame:
    """Where `draw_chart` would put things: for a cursor, the mouse and zooming."""
    with np.errstate(all="ignore"):
        return _prepare(spec, width, height)[0]


def _prepare(spec: ChartSpec, width: int, height: int) -> tuple[Frame, tuple[Line, ...]]:
    x = layout.x_axis(spec)
    lines = tuple(layout.visible(line, x) for line in spec.lines)
    return layout.layout(spec, width, height, x, layout.y_axis(spec, lines)), lines


def _title(spec: ChartSpec, width: int, palette: Palette, marks: Marks) -> Strip:
    dim = Style(dim=True) if spec.dimmed else Style()
    left = [(text.clean(spec.title), palette.title + dim)]
    if spec.detail:
        left.append((f"  {text.clean(spec.detail)}", palette.faint + dim))
    right: list[tuple[str, Style]] = []
    for line in spec.lines if spec.legend else ():
        if line.label:
            gap = "  " if right else ""
            right.append((f"{gap}{text.clean(line.label)} ", palette.faint + dim))
            right.append((_TOKENS[marks][line.role], _style_of(line, palette) + dim))
    return line_of(left, right, width)


def _say_empty(canvas: Canvas, spec: ChartSpec, frame: Frame, palette: Palette) -> None:
    hint = text.clean(spec.empty)
    if canvas.height > 1 and len(hint) <= canvas.width and hint.isascii():
        row = frame.top + (canvas.height - frame.top - 1) // 2
        canvas.write(row, (canvas.width - len(hint)) // 2, hint, palette.faint)


def _style_of(line: Line, palette: Palette) -> Style:
    if line.role == "series":
        return palette.of_series(line.colour)
    return {"raw": palette.raw, "smooth": palette.smooth, "validation": palette.validation}[
        line.role
    ]


def _draw_axes(
    canvas: Canvas, spec: ChartSpec, frame: Frame, palette: Palette, marks: Marks
) -> None:
    upright, tick, corner, flat, down = "│┤└─┬" if marks == "braille" else "|++-+"
    if frame.left:
        for row in range(frame.rows):
            canvas.write(frame.top + row, frame.left - 1, upright, palette.axis)
        for row, label in frame.y_labels.items():
            line = f"{label:>{frame.left - 1}}"
            canvas.write(frame.top + row, 0, line, palette.faint)
            canvas.write(frame.top + row, frame.left - 1, tick, palette.axis)
    if frame.axis_row is None:
        return
    if frame.left:
        canvas.write(frame.axis_row, frame.left - 1, corner, palette.axis)
    canvas.write(frame.axis_row, frame.left, flat * frame.columns, palette.axis)
    for column, label in frame.x_labels.items():
        canvas.write(frame.axis_row, frame.left + column, down, palette.axis)
        if frame.label_row is not None:
            start = frame.left + layout.label_start(column, label, frame.columns)
            canvas.write(frame.label_row, start, label, palette.faint)
    if frame.label_row is not None:
        name = layout.axis_name(spec, frame.columns)
        canvas.write(frame.label_row, canvas.width - len(name), name, palette.faint)
    for column, item in _mark_columns(spec.marks, frame).items():
        canvas.write(frame.axis_row, frame.left + column, item.glyph, palette.of_mark(item.kind))


def _mark_columns(marks: tuple[Mark, ...], frame: Frame) -> dict[int, Mark]:
    """At most one mark a column; checkpoints and evaluations at least four columns apart, the
    newest always among them."""
    taken: dict[int, Mark] = {}
    for kind in _RANK:
        last: int | None = None
        for item in reversed([m for m in marks if m.kind == kind]):
            column = frame.column_of(item.x)
            if column is None or column in taken:
                continue
            if kind in _THINNED and last is not None and abs(last - column) < 4:
                continue
            taken[column] = item
            last = column
    return taken


def _draw_lines(
    canvas: Canvas,
    spec: ChartSpec,
    frame: Frame,
    lines: tuple[Line, ...],
    palette: Palette,
    marks: Marks,
) -> None:
    # Lowest layer first; among equals the first line last, so that it lies on top.
    order = range(len(lines) - 1, -1, -1)
    for index in sorted(order, key=lambda one: _LAYERS[lines[one].role]):
        line = lines[index]
        if line.role == "validation":
            _draw_points(canvas, frame, line, palette, marks)
        else:
            _draw_line(canvas, frame, line, palette, marks)


def _draw_line(canvas: Canvas, frame: Frame, line: Line, palette: Palette, marks: Marks) -> None:
    grain = raster.GRAINS[marks]
    values = frame.y.to_plot(line.y)
    thinned = bins.thin(line.x, values, frame.x.low, frame.x.high, frame.columns * grain.across)
    low, high = frame.y.fraction(thinned.low), frame.y.fraction(thinned.high)
    dots = raster.trace(low, high, thinned, frame.rows * grain.down)
    cells = raster.to_cells(dots, marks, band=line.role == "raw")
    canvas.overlay(cells, frame.top, frame.left, _style_of(line, palette))
    for outside, row, glyph in (
        (high > 1 + 1e-9, 0, _UP[marks]),
        (low < -1e-9, frame.rows - 1, _DOWN[marks]),
    ):
        for column in np.unique(np.flatnonzero(outside) // grain.across).tolist():
            canvas.write(frame.top + row, frame.left + column, glyph, palette.clipped)


def _draw_points(canvas: Canvas, frame: Frame, line: Line, palette: Palette, marks: Marks) -> None:
    """Marks at single points, newest uppermost; a clipped one points over the edge."""
    heights = frame.y.fraction(frame.y.to_plot(line.y))
    places = frame.x.fraction(line.x)
    solid = np.flatnonzero(np.isfinite(heights))
    heights, places = heights[solid], places[solid]
    columns = np.rint(np.clip(places, 0, 1) * (frame.columns - 1)).astype(np.intp)
    rows = raster.dot_rows(heights, frame.rows).astype(np.intp)
    # The last point of each cell is enough, however many there are.
    for index in np.unique(np.stack([rows, columns]), axis=1, return_index=True)[1].tolist():
        height = heights[index]
        glyph, style = _POINT[marks], palette.validation
        if height > 1 + 1e-9 or height < -1e-9:
            glyph, style = (_UP if height > 1 else _DOWN)[marks], palette.clipped
        canvas.write(frame.top + int(rows[index]), frame.left + int(columns[index]), glyph, style)


def _draw_cursor(
    canvas: Canvas, spec: ChartSpec, frame: Frame, palette: Palette, marks: Marks
) -> None:
    if spec.cursor_x is None or not np.isfinite(spec.cursor_x):
        return
    column = frame.column_of(spec.cursor_x)
    if column is None:
        return
    upright = "│" if marks == "braille" else "|"
    for row in range(frame.rows):
        if canvas.is_blank(frame.top + row, frame.left + column):
            canvas.write(frame.top + row, frame.left + column, upright, palette.cursor)
