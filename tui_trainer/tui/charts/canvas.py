"""A grid of characters and styles, converted to strips."""

from __future__ import annotations

import itertools
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

_SPACE = ord(" ")


class RowCache:
    """The rows of the last drawing, to return an unchanged row as the same object."""

    def __init__(self) -> None:
        self._now: dict[Hashable, Strip] = {}
        self._before: dict[Hashable, Strip] = {}

    def begin(self) -> None:
        """Start a drawing: rows not used in it are dropped at the next one."""
        self._before, self._now = self._now, {}

    def get(self, key: Hashable) -> Strip | None:
        """A row drawn before, as the same object; None if there is none."""
        strip = self._before.get(key) or self._now.get(key)
        if strip is not None:
            self._now[key] = strip
        return strip

    def keep(self, key: Hashable, strip: Strip) -> Strip:
        """Store a row and return it."""
        self._now[key] = strip
        return strip


class Canvas:
    """`width`×`height` narrow characters, each with a style; text outside is clipped."""

    def __init__(self, width: int, height: int, rows: RowCache | None = None) -> None:
        self.width = width
        self.height = height
        self._rows = rows if rows is not None else RowCache()
        self._codes = np.full((height, width), _SPACE, dtype=np.uint32)
        self._styles = np.zeros((height, width), dtype=np.int32)
        self._palette: dict[Style, int] = {Style(): 0}

    def style(self, style: Style) -> int:
        """The number of a style on this canvas."""
        return self._palette.setdefault(style, len(self._palette))

    def write(self, row: int, column: int, text: str, style: Style) -> None:
        """Write narrow text, starting at a cell."""
        begin, end = max(column, 0), min(column + len(text), self.width)
        if not 0 <= row < self.height or begin >= end:
            return
        self._codes[row, begin:end] = [ord(c) for c in text[begin - column : end - column]]
        self._styles[row, begin:end] = self.style(style)

    def write_down(self, row: int, column: int, count: int, character: str, style: Style) -> None:
        """Write a character into `count` cells of a column, downwards."""
        if 0 <= column < self.width:
            self._codes[max(row, 0) : row + count, column] = ord(character)
            self._styles[max(row, 0) : row + count, column] = self.style(style)

    def overlay(self, cells: NDArray[np.uint32], top: int, left: int, style: Style) -> None:
        """Draw a block of cells over the present ones; empty cells (0) are transparent."""
        rows = min(cells.shape[0], self.height - top)
        columns = min(cells.shape[1], self.width - left)
        cells = cells[:rows, :columns]
        there = cells > 0
        area = (slice(top, top + rows), slice(left, left + columns))
        self._codes[area][there] = cells[there]
        self._styles[area][there] = self.style(style)

    def is_blank(self, row: int, column: int) -> bool:
        """Whether a cell is still empty."""
        return bool(self._codes[row, column] == _SPACE)

    def strips(self, dimmed: bool = False) -> list[Strip]:
        """One strip per row, exactly `width` cells wide."""
        palette = tuple(self._palette)
        if dimmed:
            palette = tuple(style + Style(dim=True, bold=False) for style in palette)
        self._rows.begin()
        return [self._strip(row, palette) for row in range(self.height)]

    def _strip(self, row: int, palette: tuple[Style, ...]) -> Strip:
        codes, styles = self._codes[row], self._styles[row]
        key = (codes.tobytes(), styles.tobytes(), palette)
        known = self._rows.get(key)
        if known is not None:
            return known
        text = key[0].decode("utf-32-le")
        bounds = [0, *(np.flatnonzero(np.diff(styles)) + 1).tolist(), self.width]
        segments = [
            Segment(text[begin:end], palette[styles[begin]])
            for begin, end in itertools.pairwise(bounds)
        ]
        return self._rows.keep(key, Strip(segments, self.width))


def line_of(left: list[tuple[str, Style]], right: list[tuple[str, Style]], width: int) -> Strip:
    """One row with text at both ends; without the right one if both do not fit."""
    used = sum(cell_len(text) for text, _ in left)
    needed = sum(cell_len(text) for text, _ in right)
    pieces = [Segment(text, style) for text, style in left]
    if right and used + needed + 2 <= width:
        pieces.append(Segment(" " * (width - used - needed), Style()))
        pieces.extend(Segment(text, style) for text, style in right)
        return Strip(pieces, width)
    kept, free = [], width
    for piece in pieces:
        fitted = piece.text if cell_len(piece.text) <= free else set_cell_size(piece.text, free)
        if fitted:
            kept.append(Segment(fitted, piece.style))
        free -= cell_len(fitted)
    if free > 0:
        kept.append(Segment(" " * free, Style()))
    return Strip(kept, width)
