"""Formatting of numbers, durations, sizes, rates, shares and untrusted text.

The command line, the screens and the notifications all use this module, so that 42 seconds,
1,420 steps or an unknown value look the same everywhere. No I/O; imports nothing of the package.
"""

from __future__ import annotations

import itertools
import math
import time
import unicodedata
from collections.abc import Sequence
from typing import Literal

# Format of an axis's labels: "number" for any quantity, "duration" for seconds, "clock"
# for seconds since the epoch.
Format = Literal["number", "duration", "clock"]

MISSING = "–"  # a value that is unknown, not recorded or not finite
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_AGES = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))
_LONGEST_SECONDS = 1e11  # 3,000 years; a larger value is not a duration
_LONGEST_LINE = 300  # characters of a notice


# -- numbers ---------------------------------------------------------------------------------------


def number(value: float | None, digits: int = 4) -> str:
    """A measured value with `digits` significant digits: `1.284`, `1,420`, `18,402`, `1.6e-4`.

    Whole numbers have no decimals. Numbers below 0.001 and from 10 million on are scientific, so
    that the width of a live value stays the same.
    """
    if value is None or math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 9_999_999.5:
        return _scientific(value, 3)
    if value == int(value) or size >= 10 ** (digits - 1):
        return f"{round(value):,}"
    if size < 1e-3:
        return _scientific(value, min(digits, 3))
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    if size < 0.1:  # rates, mostly round
        return f"{value:.{decimals}f}".rstrip("0")
    return f"{value:,.{decimals}f}"


def short_number(value: float | None, digits: int = 3) -> str:
    """A measured value for a sentence: `digits` significant digits, no trailing zeros; `2,110`."""
    text = number(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def count(value: float | None) -> str:
    """A whole number with thousands separators: `19,560`."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """A learning rate with at most three digits: `1.64e-4`, `0.05`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0 or 0.01 <= abs(value) < 999.5:  # from there on `.3g` would be `1e+03`
        return f"{value:.3g}"
    return _scientific(value, 3)


def share(value: float | None) -> str:
    """A share (0..1) in per cent: `38 %`. Never rounded up to 100, so that one miss is visible."""
    if value is None or not math.isfinite(value * 100):
        return MISSING
    return _percent(value * 100)


def set_share(value: float) -> str:
    """A share (0..1) as it was configured, in per cent with its decimals: `0.5 %`, `12.5 %`."""
    return f"{100 * value:.10g} %"


def share_change(before: float | None, after: float | None, total: int = 0) -> str:
    """A share (0..1) before and after, and of how many: `30 % → 100 % of 10`.

    The first is left out where it is not known, and the number where it is 0.
    """
    if after is None:
        return MISSING
    text = share(after) if before is None else f"{share(before)} → {share(after)}"
    return f"{text} of {count(total)}" if total else text


def score(value: float | None) -> str:
    """A score between 0 and 1 with three decimals: `0.935`."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A percentage (0..100): `38 %`."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.0f} %"


def change(value: float | None) -> str:
    """A relative change, signed: `-3.1 %` for -0.031, `+120 %` for 1.2."""
    if value is None or not math.isfinite(value * 100):
        return MISSING
    per_cent = value * 100
    return f"{per_cent:+.1f} %" if abs(per_cent) < 99.95 else f"{per_cent:+,.0f} %"


def factor(value: float | None) -> str:
    """A factor with two significant digits: `×1.3`, `×0.5`."""
    return "×" + short_number(value, 2)


def steps(step: int | None, total: int | None) -> str:
    """A step, and the total where it is known: `1,420 / 3,000`."""
    return f"{count(step)} / {count(total)}" if total else count(step)


def size(amount: float | None) -> str:
    """Bytes in binary units: `512 B`, `4.1 MiB`, `139 GiB`."""
    if amount is None or not math.isfinite(amount):
        return MISSING
    scaled, unit = _scaled(amount)
    return f"{_short(scaled, unit)} {unit}"


def size_of(used: float | None, total: float | None) -> str:
    """Bytes used of a total, in the total's unit: `21.3 / 128 GiB`."""
    if used is None or total is None:
        return size(used)
    scaled, unit = _scaled(total)
    factor = scaled / total if total else 1.0
    return f"{_short(used * factor, unit)} / {_short(scaled, unit)} {unit}"


def byte_rate(value: float | None) -> str:
    """Bytes per second: `3.2 MiB/s`."""
    return MISSING if value is None or not math.isfinite(value) else f"{size(value)}/s"


def plural(amount: float, noun: str, nouns: str | None = None) -> str:
    """An amount with its noun: `1 row`, `1,420 rows`, `0.5 epochs`."""
    text = count(amount) if amount == round(amount) else short_number(amount)
    return f"{text} {noun if amount == 1 else nouns or noun + 's'}"


# -- times -----------------------------------------------------------------------------------------


def duration(seconds: float | None) -> str:
    """A length of time: `42 s`, `12:04` (minutes and seconds), `3:07:12`, `2 d 03:07`."""
    if seconds is None or not abs(seconds) < _LONGEST_SECONDS:
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


def milliseconds(value: float | None) -> str:
    """A short length of time, in milliseconds: `0.4 ms`, `41 ms`, `1.4 s`, `12:04`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if abs(value) >= 59_500:
        return duration(value / 1000)
    if abs(value) >= 1000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if abs(value) >= 10 else f"{value:.2g} ms"


def age(seconds: float | None) -> str:
    """How long ago, in the largest unit: `12 s`, `3 min`, `2 h`, `5 d`."""
    if seconds is None or not abs(seconds) < _LONGEST_SECONDS:
        return MISSING
    for length, unit in _AGES:
        if seconds >= length:
            return f"{seconds // length:,.0f} {unit}"
    return "less than 1 s"


def clock(when: float | None, with_seconds: bool = True) -> str:
    """Seconds since the epoch as local time of day: `12:03:51`."""
    return _local(when, "%H:%M:%S" if with_seconds else "%H:%M")


def moment(when: float | None, with_seconds: bool = False) -> str:
    """Seconds since the epoch as local date and time: `2026-11-30 12:03`."""
    return _local(when or None, "%Y-%m-%d %H:%M:%S" if with_seconds else "%Y-%m-%d %H:%M")


# -- untrusted text: from files, models and users --------------------------------------------------


def clean(text: str) -> str:
    """Text for one line of a screen: control, direction and line characters, surrogates and
    unassigned characters become `·`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("·" if unicodedata.category(c)[0] in "CZ" and c != " " else c for c in text)


def escape(text: str) -> str:
    """Text for one line of a command's output: every character that could control a terminal is
    written as an escape (`\\x1b`), so that names stay exact."""
    return "".join(c if _harmless(c) else ascii(c)[1:-1] for c in text)


def escape_lines(text: str) -> str:
    """As `escape`, but keeps line breaks."""
    return "\n".join(escape(line) for line in text.split("\n"))


def one_line(text: str, longest: int = _LONGEST_LINE) -> str:
    """Text for a notification: one line of at most `longest` characters; control, direction, line
    and unassigned characters become spaces, and several spaces one."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


# -- axes ------------------------------------------------------------------------------------------


def tick_labels(ticks: Sequence[float], form: Format = "number") -> list[str]:
    """Labels of one axis, with the same number of decimals, enough to distinguish the ticks."""
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


# -- internal --------------------------------------------------------------------------------------


def _percent(value: float) -> str:
    text = f"{value:.0f}" if value == 100 or value < 99.5 else f"{min(value, 99.9):.1f}"
    return f"{text} %"


def _scaled(amount: float) -> tuple[float, str]:
    """An amount of bytes in the largest unit in which it is at least 1."""
    for unit in _UNITS[:-1]:
        if abs(amount) < 1023.95:
            return amount, unit
        amount /= 1024
    return amount, _UNITS[-1]


def _short(scaled: float, unit: str) -> str:
    return f"{scaled:,.0f}" if unit == "B" or abs(scaled) >= 99.95 else f"{scaled:.1f}"


def _local(when: float | None, pattern: str) -> str:
    try:
        return MISSING if when is None else time.strftime(pattern, time.localtime(when))
    except (OverflowError, ValueError, OSError):
        return MISSING


def _harmless(character: str) -> bool:
    # Cc are the control characters, Cf the invisible ones that reorder or hide text, Cs the
    # surrogates, which cannot be encoded, Zl and Zp further line breaks.
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


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
