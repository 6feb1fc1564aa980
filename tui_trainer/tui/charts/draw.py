"""Drawing of a chart: title, axes, lines, marks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.style import Style
from textual.strip import Strip

from tui_trainer.text import formats
from tui_trainer.tui.charts import axes, bins, layout, raster
from tui_trainer.tui.charts.canvas import Canvas, RowCache, line_of
from tui_trainer.tui.charts.layout import ChartFrame
from tui_trainer.tui.charts.model import ChartLine, ChartSpec, Marks, Palette

_LAYERS = {"raw": 0, "series": 1, "smooth": 2, "validation": 3}
_UP = {"braille": "▲", "ascii": "^"}
_DOWN = {"braille": "▼", "ascii": "v"}
_LEAD = 6  # cells that a level starts before its window
_GAP = 2  # cells between the left and the right end of the first row
_CUT = {"braille": "…", "ascii": "~"}
_POINT = {"braille": "◆", "ascii": "o"}
_TOKENS = {
    "braille": {"raw": "┄", "smooth": "━", "series": "━", "validation": "◆"},
    "ascii": {"raw": ":", "smooth": "-", "series": "-", "validation": "o"},
}


def draw_chart(
    spec: ChartSpec,
    width: int,
    height: int,
    palette: Palette,
    marks: Marks = "braille",
    before: RowCache | None = None,
) -> list[Strip]:
    """The chart as `height` strips of exactly `width` cells; never raises, whatever the values.

    With less room the tick labels, the axis, the gutter and the plot are left out, in this order.
    Rows equal to those in the cache `before` are the same objects.
    """
    if width < 1 or height < 1:
        return [Strip.blank(max(width, 0), Style()) for _ in range(max(height, 0))]
    with np.errstate(all="ignore"):
        frame, lines = _prepare(spec, width, height)
        canvas = Canvas(width, height, before)
        title = draw_title(spec, width, palette, marks)
        if not any(len(line.x) and bool(np.isfinite(line.y).any()) for line in lines):
            _write_reason(canvas, spec.empty, frame, palette)
        elif spec.log_y and not any(_reaches_above_zero(line) for line in lines):
            _write_reason(canvas, "no value above 0 for a log axis", frame, palette)
        elif height > 1:
            axes.draw_axes(canvas, spec, frame, palette, marks)
            _draw_lines(canvas, frame, lines, palette, marks)
            _draw_tags(canvas, frame, lines, palette)
            _draw_levels(canvas, spec, frame, palette, marks)
            _draw_cursor(canvas, spec, frame, palette, marks)
    rows = canvas.strips(spec.dimmed)
    rows[0] = title
    return rows


def frame_of(spec: ChartSpec, width: int, height: int) -> ChartFrame:
    """The layout that `draw_chart` uses, for the cursor, the mouse and zooming."""
    with np.errstate(all="ignore"):
        return _prepare(spec, width, height)[0]


def _prepare(spec: ChartSpec, width: int, height: int) -> tuple[ChartFrame, tuple[ChartLine, ...]]:
    x = layout.x_axis(spec)
    lines = tuple(layout.visible(line, x) for line in spec.lines)
    return layout.layout(spec, width, height, x, layout.y_axis(spec, lines)), lines


def draw_title(spec: ChartSpec, width: int, palette: Palette, marks: Marks) -> Strip:
    """The first row: title, detail and legend. If they do not fit, the legend is reduced to the
    smoothed line, so that it is not mistaken for the values; then the detail is shortened."""
    dim = Style(dim=True) if spec.dimmed else Style()
    title = formats.clean(spec.title)
    left = [(title, palette.title + dim)]
    if spec.detail:
        left.append((f"  {formats.clean(spec.detail)}", palette.faint + dim))
    labelled = spec.lines if spec.legend else ()
    right = _legend(labelled, palette, marks, dim)
    if not _fits(left, right, width):
        right = _legend([one for one in labelled if one.role == "smooth"], palette, marks, dim)
    room = width - cell_len(title)
    if right and _fits(left[:1], right, width):
        room -= _GAP + sum(cell_len(piece) for piece, _ in right)
    left[1:] = [(_shortened(text, room, marks), style) for text, style in left[1:]]
    return line_of(left, right, width)


def _shortened(text: str, width: int, marks: Marks) -> str:
    """`text` in at most `width` cells; a longer one is cut after a word, never within a number."""
    if cell_len(text) <= width:
        return text
    kept = set_cell_size(text, max(0, width)).rpartition(" ")[0].rstrip(" @")
    return kept + _CUT[marks] if kept else ""


def _fits(left: list[tuple[str, Style]], right: list[tuple[str, Style]], width: int) -> bool:
    return sum(cell_len(piece) for piece, _ in (*left, *right)) + _GAP <= width


def _legend(
    lines: Sequence[ChartLine], palette: Palette, marks: Marks, dim: Style
) -> list[tuple[str, Style]]:
    right: list[tuple[str, Style]] = []
    for line in lines:
        if line.label:
            gap = "  " if right else ""
            label = formats.clean(f"{line.tag} {line.label}".strip())
            right.append((f"{gap}{label} ", palette.faint + dim))
            right.append((_TOKENS[marks][line.role], _style_of(line, palette) + dim))
    return right


def _reaches_above_zero(line: ChartLine) -> bool:
    return bool(((line.y if line.top is None else line.top) > 0).any())


def _write_reason(canvas: Canvas, reason: str, frame: ChartFrame, palette: Palette) -> None:
    """Why nothing is drawn, centred and wrapped at words; left out where it does not fit."""
    lines = textwrap.wrap(formats.clean(reason), canvas.width, break_long_words=False)
    room = canvas.height - frame.top
    if len(lines) > room or any(len(one) > canvas.width or not one.isascii() for one in lines):
        return
    first = frame.top + (room - len(lines)) // 2
    for row, line in enumerate(lines, first):
        canvas.write(row, (canvas.width - len(line)) // 2, line, palette.faint)


def _style_of(line: ChartLine, palette: Palette) -> Style:
    if line.role == "series":
        style = palette.of_series(line.colour)
        return style + Style(bold=True) if line.strong else style
    return {"raw": palette.raw, "smooth": palette.smooth, "validation": palette.validation}[
        line.role
    ]


def _draw_lines(
    canvas: Canvas, frame: ChartFrame, lines: tuple[ChartLine, ...], palette: Palette, marks: Marks
) -> None:
    # Lowest layer first; among equals the first line last, so that it is on top.
    order = range(len(lines) - 1, -1, -1)
    for index in sorted(order, key=lambda one: _LAYERS[lines[one].role]):
        line = lines[index]
        if line.role == "validation":
            _draw_points(canvas, frame, line, palette, marks)
        else:
            _draw_line(canvas, frame, line, palette, marks)


def _draw_line(
    canvas: Canvas, frame: ChartFrame, line: ChartLine, palette: Palette, marks: Marks
) -> None:
    grain = raster.GRAINS[marks]
    values = frame.y.to_plot(line.y)
    top = None if line.top is None else frame.y.to_plot(line.top)
    if top is not None and frame.y.log:
        # A log axis cannot show the part of a span that is not above 0.
        values = np.where(np.isnan(values), top, values)
    dots_across = frame.columns * grain.across
    thinned = bins.thin(line.x, values, frame.x.low, frame.x.high, dots_across, top)
    low, high = frame.y.fraction(thinned.low), frame.y.fraction(thinned.high)
    dots = raster.trace(low, high, thinned, frame.rows * grain.down)
    cells = raster.to_cells(dots, marks, band=line.role == "raw")
    canvas.overlay(cells, frame.top, frame.left, _style_of(line, palette))
    for outside, row, glyph in (
        (high > 1 + 1e-9, 0, _UP[marks]),
        (low < -1e-9, frame.rows - 1, _DOWN[marks]),
    ):
        for column in sorted({*(np.flatnonzero(outside) // grain.across).tolist()}):
            canvas.write(frame.top + row, frame.left + column, glyph, palette.clipped)


def _draw_points(
    canvas: Canvas, frame: ChartFrame, line: ChartLine, palette: Palette, marks: Marks
) -> None:
    """Marks at single points, newest on top; a clipped one is an arrow at the edge."""
    heights = frame.y.fraction(frame.y.to_plot(line.y))
    fractions = frame.x.fraction(line.x)
    solid = np.flatnonzero(np.isfinite(heights))
    heights, fractions = heights[solid], fractions[solid]
    columns = np.rint(np.clip(fractions, 0, 1) * (frame.columns - 1)).astype(np.intp)
    rows = raster.dot_rows(heights, frame.rows).astype(np.intp)
    # The last point of each cell is enough, however many there are.
    cells = (rows * frame.columns + columns).tolist()
    for index in {cell: index for index, cell in enumerate(cells)}.values():
        height = heights[index]
        glyph, style = _POINT[marks], palette.validation
        if height > 1 + 1e-9 or height < -1e-9:
            glyph, style = (_UP if height > 1 else _DOWN)[marks], palette.clipped
        canvas.write(frame.top + int(rows[index]), frame.left + int(columns[index]), glyph, style)


def _draw_tags(
    canvas: Canvas, frame: ChartFrame, lines: tuple[ChartLine, ...], palette: Palette
) -> None:
    """Each line's character at its end, or to the left if that cell is taken by an earlier line."""
    taken: set[tuple[int, int]] = set()
    for line in lines:
        heights = frame.y.fraction(frame.y.to_plot(line.y)) if line.tag else line.y[:0]
        solid = np.flatnonzero(np.isfinite(heights))
        if not len(solid):
            continue
        position = float(frame.x.fraction(line.x[solid[-1:]])[0])
        column = round(min(max(position, 0.0), 1.0) * (frame.columns - 1))
        row = int(raster.dot_rows(heights[solid[-1:]], frame.rows)[0])
        while (row, column) in taken and column > 0:
            column -= 1
        taken.add((row, column))
        style = _style_of(line, palette) + Style(bold=True)
        canvas.write(frame.top + row, frame.left + column, line.tag[:1], style)


def _draw_levels(
    canvas: Canvas, spec: ChartSpec, frame: ChartFrame, palette: Palette, marks: Marks
) -> None:
    """Each window's levels as dashed lines, starting a little before it, in empty cells."""
    dash = "╌" if marks == "braille" else "-"
    for window in spec.windows:
        until = max(window.last, window.last if window.until is None else window.until)
        ends = axes.columns_of(replace(window, last=until), frame)
        if ends is None or not window.levels:
            continue
        heights = frame.y.fraction(frame.y.to_plot(np.array(window.levels)))
        for height in heights[(heights >= 0) & (heights <= 1)]:
            row = frame.top + int(raster.dot_rows(np.array([height]), frame.rows)[0])
            for column in range(max(0, ends[0] - _LEAD), ends[1] + 1):
                if canvas.is_blank(row, frame.left + column):
                    canvas.write(row, frame.left + column, dash, palette.of_mark("advice"))


def _draw_cursor(
    canvas: Canvas, spec: ChartSpec, frame: ChartFrame, palette: Palette, marks: Marks
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
