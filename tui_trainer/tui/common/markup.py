"""Text and numbers for the screen, with units, as contents that are never read as markup."""

from __future__ import annotations

import math
import re

from rich.cells import cell_len
from textual.content import Content

from tui_trainer.text.formats import clean

MISSING = "n/a"
_LEAST_PATH = 12  # characters; less of a path tells nothing
_WORD = re.compile(r"\S+")
_PATH_PART = re.compile(r"[^/\\]*[/\\]+|[^/\\]+")
_NAME_PART = re.compile(r"[^-_.,;:=+]*[-_.,;:=+]+|[^-_.,;:=+]+")
_AGES = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def plain(text: str, style: str = "") -> Content:
    """`text` from a file: cleaned of control characters, never read as markup."""
    content = Content(clean(text))
    return content.stylize(style) if style else content


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` characters: where it is longer, paths in it lose their middle,
    and then its end is replaced by `…`."""
    while len(text) > width:
        room = {word: _room(word, len(text) - width) for word in text.split() if "/" in word}
        word = max(room, key=len, default="")
        if not word or room[word] >= len(word):
            return f"{text[: max(0, width - 1)]}…"
        text = text.replace(word, short_path(word, room[word]))
    return text


def short_path(path: str, width: int) -> str:
    """`path` in at most `width` characters: its first part and as many of its last ones as fit,
    with `…` for what is between them."""
    if len(path) <= width:
        return path
    head, *parts = path.split("/")
    if not head and len(parts) > 1:
        head = f"/{parts.pop(0)}"
    for start in (f"{head}/…", "…"):
        for at in range(1, len(parts)):
            short = "/".join((start, *parts[at:]))
            if len(short) <= width:
                return short
    return f"…{path[len(path) - width + 1 :]}" if width > 1 else "…"[:width]


def wrapped(content: Content, width: int) -> list[Content]:
    """`content` in lines of at most `width` cells, parted between words, and a path that is
    longer than a line at its separators."""
    return unbroken(content, width).wrap(width)


def unbroken(content: Content, width: int) -> Content:
    """`content` with line breaks where a word that is longer than a line has a seam, so that
    wrapping it at `width` cells cuts through no part of a path."""
    if width < 1:
        return content
    cuts: list[int] = []
    for word in _WORD.finditer(content.plain):
        if cell_len(word[0]) > width:
            cuts += [word.start() + at for at in _cuts(word[0], width)]
    return Content("\n").join(content.divide(cuts)) if cuts else content


def _cuts(word: str, width: int) -> list[int]:
    """Where a long word is parted: after the last separator that fits on each line."""
    cuts, start, end = [], 0, 0
    for piece in _pieces(word, width):
        if start < end and cell_len(word[start:end] + piece) > width:
            cuts.append(end)
            start = end
        end += len(piece)
    return cuts


def _pieces(word: str, width: int) -> list[str]:
    """The parts of a path with their separators; a part longer than a line in smaller ones."""
    pieces: list[str] = []
    for piece in _PATH_PART.findall(word):
        pieces += [piece] if cell_len(piece) <= width else _NAME_PART.findall(piece)
    return pieces


def _room(word: str, surplus: int) -> int:
    """The characters left to a path in a text that is `surplus` characters too long."""
    return max(min(len(word), _LEAST_PATH), len(word) - surplus)


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
