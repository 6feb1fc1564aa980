"""Numbers, times and foreign text as a chart prints them."""

from __future__ import annotations

import itertools
import math
import time
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # numpy comes after the first paint
    from tui_trainer.tui.charts.model import Format

_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MISSING = "–"


def number(value: float | None, digits: int = 4) -> str:
    """A value in few characters: `1.284`, `1,420`, `18.4k`, `1.6e-4`.

    Whole numbers below 10,000 are written out, larger ones shortened to three digits; others
    have `digits` significant digits, so that a live value keeps its width.
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 1e15:
        return _scientific(value, 3)
    if size >= 10_000:
        return _suffixed(value)
    if value == int(value):
        return f"{int(value):,}"
    if size < 1e-3:
        return _scientific(value, min(digits, 3))
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    if size < 0.1:  # rates, mostly round
        return f"{value:.{decimals}f}".rstrip("0")
    return f"{value:,.{decimals}f}"


def duration(seconds: float | None) -> str:
    """`42 s`, `12:04`, `3:07:12`, `2 d 03:07`."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    sign, whole = ("-" if seconds < -0.5 else ""), round(abs(seconds))
    if whole < 60:
        return f"{sign}{whole} s"
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days} d {hours:02}:{minutes:02}"
    return f"{sign}{hours}:{minutes:02}:{secs:02}" if hours else f"{sign}{minutes}:{secs:02}"


def clock(when: float | None, with_seconds: bool = True) -> str:
    """Seconds since the epoch as local time of day."""
    try:
        moment = time.localtime(when) if when is not None else None
    except (OverflowError, ValueError, OSError):
        moment = None
    if moment is None:
        return MISSING
    return time.strftime("%H:%M:%S" if with_seconds else "%H:%M", moment)


def clean(text: str) -> str:
    """Text from a file made fit for one line of a terminal: control, direction and line
    characters become `·`, surrogates and unassigned ones too."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("·" if unicodedata.category(c)[0] in "CZ" and c != " " else c for c in text)


def tick_labels(ticks: Sequence[float], form: Format = "number") -> list[str]:
    """Labels of one axis, all with the same number of decimals and telling ticks apart."""
    if form == "duration":
        return [duration(tick) for tick in ticks]
    if form == "clock":
        steps = [b - a for a, b in itertools.pairwise(ticks)]
        return [clock(tick, bool(steps) and min(steps) < 60) for tick in ticks]
    if not ticks:
        return []
    largest = max(abs(tick) for tick in ticks)
    gaps = [abs(b - a) for a, b in itertools.pairwise(ticks)]
    gap = min(gaps) if gaps else largest
    if largest == 0 or gap == 0:
        return [number(tick) for tick in ticks]
    if max(gaps, default=0.0) > 5.5 * gap:  # a log axis
        return [_single(tick) for tick in ticks]
    if largest < 1e-3 or largest >= 1e15:
        return _scientific_labels(ticks, gap)
    if largest >= 10_000:
        short = [_suffixed(tick) if abs(tick) >= 1000 else f"{tick:g}" for tick in ticks]
        if len(set(short)) == len(short):
            return short
    return [f"{tick:,.{_decimals(gap)}f}" for tick in ticks]


def _single(tick: float) -> str:
    if 1e-3 <= abs(tick) < 10_000:
        return f"{tick:,g}"
    return _suffixed(tick) if 1 <= abs(tick) < 1e15 else _scientific(tick, 1)


def _decimals(gap: float) -> int:
    """Decimals that show a gap of 1, 2 or 5 times a power of ten."""
    return max(0, math.ceil(-math.log10(gap) - 1e-9))


def _scientific_labels(ticks: Sequence[float], gap: float) -> list[str]:
    largest = max(abs(tick) for tick in ticks)
    digits = max(1, math.floor(math.log10(largest)) - math.floor(math.log10(gap) + 1e-9) + 1)
    return ["0" if tick == 0 else _scientific(tick, digits) for tick in ticks]


def _scientific(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{max(0, digits - 1)}e}".partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def _suffixed(value: float) -> str:
    for scale, suffix in _SUFFIXES:
        if abs(value) >= scale * 0.9995:
            digits = f"{value / scale:.3g}"
            if "e" in digits:
                digits = f"{value / scale:.0f}"
            return f"{digits}{suffix}"
    return f"{value:.3g}"
