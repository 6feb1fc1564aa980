"""Text and numbers for the screen, with units, as contents that are never read as markup."""

from __future__ import annotations

import math
import re

from rich.cells import cell_len
from textual.content import Content

from tui_trainer.text.formats import clean

_LEAST_PATH = 12  # characters; a shorter part of a path is not recognisable
_WORD = re.compile(r"\S+")
_PATH_PART = re.compile(r"[^/\\]*[/\\]+|[^/\\]+")
_NAME_PART = re.compile(r"[^-_.,;:=+]*[-_.,;:=+]+|[^-_.,;:=+]+")


def plain(text: str, style: str = "") -> Content:
    """`text` from a file: cleaned of control characters, never read as markup."""
    content = Content(clean(text))
    return content.stylize(style) if style else content


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` characters: where it is longer, paths in it lose their middle,
    and then its end is replaced by `…`, between words if possible."""
    while len(text) > width:
        room = {word: _room(word, len(text) - width) for word in text.split() if "/" in word}
        word = max(room, key=len, default="")
        if not word or room[word] >= len(word):
            return f"{text[: cut_at(text, width - 1)]}…"
        text = text.replace(word, short_path(word, room[word]))
    return text


def cut_at(text: str, width: int) -> int:
    """Where to cut a longer text so that at most `width` characters remain: at the end of a word,
    unless less than half of the width would remain."""
    width = max(0, width)
    if width >= len(text) or text[width].isspace():
        return len(text[:width].rstrip())
    start = text.rfind(" ", 0, width)
    return len(text[:start].rstrip()) if start >= width // 2 else width


def truncated(content: Content, width: int) -> Content:
    """`content` in at most `width` cells; the end of a longer one is replaced by `…`, between
    words if possible."""
    if content.cell_length <= width:
        return content
    kept = content[: cut_at(content.plain, width - 1)]
    return Content.assemble(kept, "…").truncate(width, ellipsis=True)


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
    """`content` in lines of at most `width` cells, broken between words, and a path that is
    longer than a line at its separators."""
    return unbroken(content, width).wrap(width)


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
    """The characters left to a path in a text that is `surplus` characters too long."""
    return max(min(len(word), _LEAST_PATH), len(word) - surplus)


def meter(fraction: float | None, width: int, style: str = "$accent") -> Content:
    """A bar of `width` cells, filled to `fraction` (0..1)."""
    share = 0.0 if fraction is None or not math.isfinite(fraction) else min(1.0, max(0.0, fraction))
    filled = round(share * width)
    if 0 < share < 1:  # neither empty nor full before the end
        filled = min(width - 1, max(1, filled))
    return Content.assemble(("━" * filled, style), ("─" * (width - filled), "$faint 60%"))
