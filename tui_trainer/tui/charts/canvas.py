"""A grid of characters and styles that becomes strips."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

_SPACE = ord(" ")


class Canvas:
    """`width`×`height` narrow characters, each with one style; writing outside is cut off."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._codes = np.full((height, width), _SPACE, dtype=np.uint32)
        self._styles = np.zeros((height, width), dtype=np.int32)
        self._palette: list[Style] = [Style()]

    def style(self, style: Style) -> int:
        """The number of a style on this canvas."""
        if style not in self._palette:
            self._palette.append(style)
        return self._palette.index(style)

    def write(self, row: int, column: int, text: str, style: Style) -> None:
        """Writes narrow text from a cell on."""
        begin, end = max(column, 0), min(column + len(text), self.width)
        if not 0 <= row < self.height or begin >= end:
            return
        self._codes[row, begin:end] = [ord(c) for c in text[begin - column : end - column]]
        self._styles[row, begin:end] = self.style(style)

    def overlay(self, cells: NDArray[np.uint32], top: int, left: int, style: Style) -> None:
        """Lays a block of cells over what is there; empty cells (0) let it through."""
        rows = min(cells.shape[0], self.height - top)
        columns = min(cells.shape[1], self.width - left)
        cells = cells[:rows, :columns]
        there = cells > 0
        area = (slice(top, top + rows), slice(left, left + columns))
        self._codes[area][there] = cells[there]
        self._styles[area][there] = self.style(style)

    def is_blank(self, row: int, column: int) -> bool:
        """Whether nothing was written to a cell yet."""
        return bool(self._codes[row, column] == _SPACE)

    def strips(self, dimmed: bool = False) -> list[Strip]:
        """One strip a row, exactly `width` cells wide."""
        palette = [style + Style(dim=True, bold=False) for style in self._palette]
        return [
            self._strip(row, palette if dimmed else self._palette) for row in range(self.height)
        ]

    def _strip(self, row: int, palette: list[Style]) -> Strip:
        text = self._codes[row].tobytes().decode("utf-32-le")
        styles = self._styles[row]
        bounds = [0, *(np.flatnonzero(np.diff(styles)) + 1).tolist(), self.width]
        segments = [
            Segment(text[begin:end], palette[styles[begin]])
            for begin, end in itertools.pairwise(bounds)
        ]
        return Strip(segments, self.width)


def line_of(left: list[tuple[str, Style]], right: list[tuple[str, Style]], width: int) -> Strip:
    """One row with text at both ends; the right one gives way where both do not fit."""
    used = sum(cell_len(text) for text, _ in left)
    needed = sum(cell_len(text) for text, _ in right)
    pieces = [Segment(text, style) for text, style in left]
    if right and used + needed + 2 <= width:
        pieces.append(Segment(" " * (width - used - needed)))
        pieces.extend(Segment(text, style) for text, style in right)
        return Strip(pieces, width)
    kept, free = [], width
    for piece in pieces:
        fitted = piece.text if cell_len(piece.text) <= free else set_cell_size(piece.text, free)
        if fitted:
            kept.append(Segment(fitted, piece.style))
        free -= cell_len(fitted)
    if free > 0:
        kept.append(Segment(" " * free))
    return Strip(kept, width)
