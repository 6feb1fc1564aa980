"""Text and numbers for the screen, with units, as contents that are never read as markup."""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_right

from rich.cells import cell_len
from textual.content import Content

from tui_trainer.text.formats import clean

_LEAST_TEXT = 4  # cells beside a label
_LEAST_PATH = 12  # cells; a shorter part of a path is not recognisable
_WORD = re.compile(r"\S+")
_PATH_PART = re.compile(r"[^/\\]*[/\\]+|[^/\\]+")
_NAME_PART = re.compile(r"[^-_.,;:=+]*[-_.,;:=+]+|[^-_.,;:=+]+")


def plain(text: str, style: str = "") -> Content:
    """`text` from a file: cleaned of control characters, never read as markup."""
    content = Content(clean(text))
    return content.stylize(style) if style else content


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` cells: where it is longer, paths in it lose their middle,
    and then its end is replaced by `…`, between words if possible."""
    while (surplus := cell_len(text) - width) > 0:
        room = {word: _room(word, surplus) for word in text.split() if "/" in word}
        word = max(room, key=cell_len, default="")
        if not word or room[word] >= cell_len(word):
            return f"{text[: cut_at(text, width - 1)]}…"
        text = text.replace(word, short_path(word, room[word]))
    return text


def cut_at(text: str, width: int) -> int:
    """Where to cut a longer text so that at most `width` cells remain: at the end of a word,
    unless less than half of the width would remain."""
    end = _fitting(text, width)
    if end >= len(text) or text[end].isspace():
        return len(text[:end].rstrip())
    start = text.rfind(" ", 0, end)
    return len(text[:start].rstrip()) if start >= end // 2 else end


def truncated(content: Content, width: int) -> Content:
    """`content` in at most `width` cells; the end of a longer one is replaced by `…`, between
    words if possible."""
    if content.cell_length <= width:
        return content
    kept = content[: cut_at(content.plain, width - 1)]
    return Content.assemble(kept, "…").truncate(width, ellipsis=True)


def short_path(path: str, width: int) -> str:
    """`path` in at most `width` cells: its first part and as many of its last ones as fit,
    with `…` for what is between them."""
    if cell_len(path) <= width:
        return path
    head, *parts = path.split("/")
    if not head and len(parts) > 1:
        head = f"/{parts.pop(0)}"
    for start in (f"{head}/…", "…"):
        for at in range(1, len(parts)):
            short = "/".join((start, *parts[at:]))
            if cell_len(short) <= width:
                return short
    return f"…{tail(path, width - 1)}" if width > 1 else "…"[:width]


def middle(text: str, width: int) -> str:
    """`text` in at most `width` cells; a longer one is cut in the middle, as names of runs
    mostly differ at their ends."""
    if cell_len(text) <= width:
        return text
    end = tail(text, max(0, (width - 1) // 2))
    return f"{text[: _fitting(text, width - 1 - cell_len(end))]}…{end}"


def tail(text: str, width: int) -> str:
    """The end of `text` in at most `width` cells."""
    start = len(text) - _fitting(text[::-1], width)
    # Reversed, a sign that widens the one before it was measured apart from that one; without it,
    # it would widen what the end is put after.
    while start < len(text) and (cell_len(text[start:]) > width or not cell_len(text[start])):
        start += 1
    return text[start:]


def wrapped(content: Content, width: int) -> list[Content]:
    """`content` in lines of at most `width` cells, broken between words, and a path that is
    longer than a line at its separators."""
    return unbroken(content, width).wrap(width)


def beside(label: Content, text: Content, width: int) -> list[Content]:
    """`label` and, beside it, `text`, in lines of at most `width` cells: the text continues below
    its own start, not below the label."""
    start = label.cell_length
    first, *rest = wrapped(text, max(_LEAST_TEXT, width - start))
    indent = Content(" " * start)
    return [label + first, *(indent + line for line in rest)]


def unbroken(content: Content, width: int) -> Content:
    """`content` with line breaks at the separators of words that are longer than a line, so that
    wrapping it at `width` cells breaks no part of a path."""
    if width < 1:
        return content
    cuts: list[int] = []
    for word in _WORD.finditer(content.plain):
        if cell_len(word[0]) > width:
            cuts += [word.start() + at for at in _cuts(word[0], width)]
    return Content("\n").join(content.divide(cuts)) if cuts else content


def _cuts(word: str, width: int) -> list[int]:
    """The positions at which a long word is broken: after the last separator that fits on each
    line."""
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
    """The cells left to a path in a text that is `surplus` cells too long."""
    return max(min(cell_len(word), _LEAST_PATH), cell_len(word) - surplus)


def _fitting(text: str, width: int) -> int:
    """The number of characters from the start of `text` that fit into `width` cells."""
    if text.isascii():  # a cell each
        return min(len(text), max(0, width))
    fitting = bisect_right(list(itertools.accumulate(map(cell_len, text))), max(0, width))
    while cell_len(text[:fitting]) > width and fitting:  # a sign that widens the one before it
        fitting -= 1
    return fitting


def meter(fraction: float | None, width: int, style: str = "$accent") -> Content:
    """A bar of `width` cells, filled to `fraction` (0..1)."""
    share = 0.0 if fraction is None or not math.isfinite(fraction) else min(1.0, max(0.0, fraction))
    filled = round(share * width)
    if 0 < share < 1:  # neither empty nor full before the end
        filled = min(width - 1, max(1, filled))
    return Content.assemble(("━" * filled, style), ("─" * (width - filled), "$faint 60%"))
