"""Sparklines and bars made of block characters."""

from __future__ import annotations

import math

import numpy as np

from tui_trainer.tui.charts.model import Array, Marks

_UPRIGHT = {"braille": "▁▂▃▄▅▆▇█", "ascii": "_.-=+*#@"}
_EIGHTHS = " ▏▎▍▌▋▊▉"


def sparkline(
    values: Array,
    width: int,
    marks: Marks = "braille",
    limits: tuple[float, float] | None = None,
) -> str:
    """`width` characters, the newest value at the right; missing values are blanks.

    More values than characters are averaged in groups; fewer are right-aligned. `limits` fix the
    scale (0..100 for percent); the default are the extremes of the values.
    """
    if width < 1:
        return ""
    data = np.asarray(values, dtype=np.float64)
    data = np.where(np.isfinite(data), np.clip(data, -1e300, 1e300), np.nan)
    parts = (
        np.array_split(data, width)
        if len(data) > width
        else [data[i : i + 1] for i in range(len(data))]
    )
    means = [_mean(part) for part in parts]
    known = [mean for mean in means if mean is not None]
    low, high = limits if limits is not None else (min(known, default=0.0), max(known, default=1.0))
    levels = _UPRIGHT[marks]
    half_span = high / 2 - low / 2
    drawn = []
    for mean in means:
        if mean is None:
            drawn.append(" ")
            continue
        level = (mean / 2 - low / 2) / half_span if half_span > 0 else 0.0
        drawn.append(levels[min(7, max(0, math.floor(level * 8)))])
    return "".join(drawn).rjust(width)


def bar(fraction: float | None, width: int, marks: Marks = "braille") -> str:
    """A level of 0..1 as `width` characters: `██████▍   `, or `######....` in ASCII.

    None and NaN give an empty bar.
    """
    if width < 1:
        return ""
    level = 0.0 if fraction is None or math.isnan(fraction) else min(max(fraction, 0.0), 1.0)
    if marks == "ascii":
        full = round(level * width)
        return "#" * full + "." * (width - full)
    eighths = round(level * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def _mean(part: Array) -> float | None:
    present = part[np.isfinite(part)]
    return float(np.mean(present / len(present)) * len(present)) if len(present) else None
