"""Words and numbers for the screen, with their units, as contents that are never markup."""

from __future__ import annotations

import math

from textual.content import Content

from tui_trainer.tui.charts.text import clean

MISSING = "n/a"
_AGES = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def plain(text: str, style: str = "") -> Content:
    """`text` from a file: cleaned of control characters, never read as markup."""
    content = Content(clean(text))
    return content.stylize(style) if style else content


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` characters, its end replaced by `…` where it is longer."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def count_text(value: float | None) -> str:
    """A whole number with its thousands separated."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.0f}"


def rate_text(value: float | None) -> str:
    """A learning rate with three digits: `1.64e-4`, `0.05`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.3g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def age_text(seconds: float | None) -> str:
    """How long ago, in its largest unit: `12 s`, `3 min`, `2 h`, `5 d`."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    for size, unit in _AGES:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return "less than 1 s"


def gib_text(used: float | None, total: float | None = None) -> str:
    """Bytes as `21.3 / 128 GiB`, `21.3 GiB`, or MiB where there is less than one GiB."""
    if used is None:
        return MISSING
    if total is None:
        return f"{used / 2**30:.1f} GiB" if used >= 2**30 else f"{used / 2**20:.0f} MiB"
    return f"{used / 2**30:.1f} / {total / 2**30:.0f} GiB"


def percent_text(value: float | None) -> str:
    """`38 %`."""
    return MISSING if value is None else f"{value:.0f} %"


def meter(fraction: float | None, width: int, style: str = "$accent") -> Content:
    """A bar of `width` cells, filled to `fraction` (0..1)."""
    share = 0.0 if fraction is None or not math.isfinite(fraction) else min(1.0, max(0.0, fraction))
    filled = round(share * width)
    if 0 < share < 1:  # what has started shows a start, what is unfinished a rest
        filled = min(width - 1, max(1, filled))
    return Content.assemble(("━" * filled, style), ("─" * (width - filled), "$faint 60%"))
