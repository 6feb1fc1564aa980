"""A chart as SVG, with the same numbers and axes as on the screen."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from rich.style import Style

from tui_trainer.text import formats
from tui_trainer.tui.charts import bins, scale
from tui_trainer.tui.charts.layout import visible, x_axis, y_axis
from tui_trainer.tui.charts.model import Array, ChartLine, ChartSpec, Palette
from tui_trainer.tui.charts.scale import Axis

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 34, 34  # pixels around the plot
# Of a legend, in pixels: the width of a letter (about), that of an entry's line and gap, and the
# height of a row.
_LETTER, _GAP, _ROW = 6.7, 34, 16
_ORDER = {"raw": 0, "series": 1, "smooth": 2, "validation": 3}


@dataclass(frozen=True)
class SvgColours:
    """The colours of background and text, as "#rrggbb"."""

    surface: str = "#ffffff"
    text: str = "#202020"
    faint: str = "#707070"


@dataclass(frozen=True)
class _Box:
    """The plot's position in pixels and its axes."""

    left: float
    top: float
    width: float
    height: float
    x: Axis
    y: Axis

    def across(self, values: Array) -> Array:
        return self.left + self.width * self.x.fraction(values)

    def down(self, values: Array) -> Array:
        clipped = np.clip(self.y.fraction(values), 0.0, 1.0)
        return self.top + self.height * (1 - clipped)


def svg_document(
    specs: list[ChartSpec],
    palette: Palette,
    background: SvgColours,
    width: int = 960,
    height: int = 360,
) -> str:
    """The charts below each other, each `width`×`height` pixels; never raises, whatever
    the values."""
    whole = max(1, len(specs)) * height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{whole}" '
        f'viewBox="0 0 {width} {whole}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{whole}" fill={quoteattr(background.surface)}/>',
    ]
    with np.errstate(all="ignore"):
        for index, spec in enumerate(specs):
            parts += _chart(spec, palette, background, index * height, width, height)
    return "\n".join([*parts, "</svg>", ""])


def _chart(
    spec: ChartSpec, palette: Palette, background: SvgColours, top: int, width: int, height: int
) -> list[str]:
    x = x_axis(spec)
    lines = [visible(line, x) for line in spec.lines]
    y = y_axis(spec, tuple(lines))
    legend, rows = _legend(spec, palette, background, top, width)
    above = _TOP + rows * _ROW
    box = _Box(_LEFT, top + above, width - _LEFT - _RIGHT, height - above - _BOTTOM, x, y)
    parts = [_text(8, top + 20, spec.title, background.text, bold=True)]
    parts.append(
        _text(8 + _LETTER * (len(spec.title) + 4), top + 20, spec.detail, background.faint)
    )
    parts += legend
    parts += _axes(spec, box, background)
    upwards = range(len(lines) - 1, -1, -1)
    for index in sorted(upwards, key=lambda one: _ORDER[lines[one].role]):
        line = lines[index]
        colour = _colour(line, palette, background)
        parts += _points(line, box, colour) if line.role == "validation" else _path(
            line, box, colour
        )  # fmt: skip
    for mark in spec.marks:
        position = _one(box, x, mark.x)
        if position is not None:
            bottom = box.top + box.height
            parts.append(_text(position, bottom - 3, mark.glyph, background.text, anchor="middle"))
    position = None if spec.cursor_x is None else _one(box, x, spec.cursor_x)
    if position is not None:
        parts.append(_rule(position, box.top, position, box.top + box.height, background.faint))
    return parts


def _axes(spec: ChartSpec, box: _Box, background: SvgColours) -> list[str]:
    bottom, right = box.top + box.height, box.left + box.width
    parts = [
        _rule(box.left, box.top, box.left, bottom, background.faint),
        _rule(box.left, bottom, right, bottom, background.faint),
    ]
    ticks = [tick for tick in scale.ticks(box.y, 6) if 0 <= _share(box.y, tick) <= 1]
    for tick, name in zip(ticks, formats.tick_labels(ticks, spec.y_format), strict=True):
        position = box.top + box.height * (1 - _share(box.y, tick))
        parts.append(_rule(box.left - 4, position, box.left, position, background.faint))
        parts.append(_text(box.left - 7, position + 4, name, background.faint, anchor="end"))
    ticks = [tick for tick in scale.ticks(box.x, 8) if 0 <= _share(box.x, tick) <= 1]
    for tick, name in zip(ticks, formats.tick_labels(ticks, spec.x_format), strict=True):
        position = box.left + box.width * _share(box.x, tick)
        parts.append(_rule(position, bottom, position, bottom + 4, background.faint))
        parts.append(_text(position, bottom + 17, name, background.faint, anchor="middle"))
    parts.append(_text(right, bottom + 30, spec.x_label, background.faint, anchor="end"))
    return parts


def _legend(
    spec: ChartSpec, palette: Palette, background: SvgColours, top: float, width: int
) -> tuple[list[str], int]:
    """The legend, on the right of the title or in rows below it, and the number of rows."""
    named = [(line, f"{line.tag} {line.label}".strip()) for line in spec.lines if line.label]
    lengths = [_GAP + _LETTER * len(name) for _, name in named]
    titled = _LETTER * (len(spec.title) + len(spec.detail) + 6)
    begin = width - _RIGHT - sum(lengths)
    rows, x, y = 0, begin, top + 20
    if begin < titled + _GAP:
        rows, x, y = 1, 8.0, top + 20 + _ROW
    parts: list[str] = []
    for (line, name), length in zip(named, lengths, strict=True):
        if rows and x > 8.0 and x + length > width - _RIGHT:
            rows, x, y = rows + 1, 8.0, y + _ROW
        parts.append(_rule(x, y - 4, x + 14, y - 4, _colour(line, palette, background), 2))
        parts.append(_text(x + 18, y, name, background.faint))
        x += length
    return parts, rows


def _path(line: ChartLine, box: _Box, colour: str) -> list[str]:
    """The line through the extremes of every half pixel, with gaps for missing values."""
    y = box.y.to_plot(line.y)
    top = None if line.top is None else box.y.to_plot(line.top)
    columns = max(2, int(box.width * 2))
    thinned = bins.thin(line.x, y, box.x.low, box.x.high, columns, top)
    solid = np.flatnonzero(np.isfinite(thinned.low))
    if not len(solid):
        return []
    across = box.left + box.width * solid / (columns - 1)
    low, high = box.down(thinned.low[solid]), box.down(thinned.high[solid])
    commands: list[str] = []
    joins = thinned.joined[solid].tolist()
    for at, a, b, joined in zip(across.tolist(), low.tolist(), high.tolist(), joins, strict=True):
        commands.append(f"{'L' if joined and commands else 'M'}{at:.1f} {a:.1f}")
        if abs(a - b) >= 0.05 or not joined:
            commands.append(f"L{at:.1f} {b:.1f}")
    thick = 2 if line.strong or line.role == "smooth" else 1.2
    return [
        f'<path d="{"".join(commands)}" fill="none" stroke={quoteattr(colour)} '
        f'stroke-width="{thick}" stroke-linejoin="round" stroke-linecap="round"/>'
    ]


def _points(line: ChartLine, box: _Box, colour: str) -> list[str]:
    x, y = box.across(line.x), box.down(box.y.to_plot(line.y))
    solid = np.isfinite(x) & np.isfinite(y)
    return [
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill={quoteattr(colour)}/>'
        for a, b in zip(x[solid].tolist(), y[solid].tolist(), strict=True)
    ]


def _one(box: _Box, axis: Axis, value: float) -> float | None:
    """The pixel of a data value on the x axis, None outside the plot."""
    share = _share(axis, value)
    return box.left + box.width * share if 0 <= share <= 1 else None


def _share(axis: Axis, value: float) -> float:
    return float(axis.fraction(axis.to_plot(np.array([value], dtype=np.float64)))[0])


def _colour(line: ChartLine, palette: Palette, background: SvgColours) -> str:
    styles = {"raw": palette.raw, "smooth": palette.smooth, "validation": palette.validation}
    style: Style = styles.get(line.role) or palette.of_series(line.colour)
    return style.color.get_truecolor().hex if style.color is not None else background.text


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke={quoteattr(colour)} stroke-width="{width}"/>'
    )


def _text(
    x: float, y: float, text: str, colour: str, bold: bool = False, anchor: str = "start"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill={quoteattr(colour)} text-anchor="{anchor}"{weight}>'
        f"{escape(formats.clean(text))}</text>"
    )
