"""Lines to character cells: braille (2×4 dots a cell) or plain ASCII (1×3).

A cell belongs to the topmost line that passes through it, so that a smooth line is clear inside
a faint band.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_trainer.tui.charts.bins import Bins
from tui_trainer.tui.charts.model import Array, Marks

Dots = NDArray[np.bool_]
Cells = NDArray[np.uint32]  # Unicode code points, 0 for an empty cell

_BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint32)
# By which thirds of the cell (top, middle, bottom = 4, 2, 1) a line passes through.
_ASCII_LINE = np.array([ord(c) for c in '\0_-|"|||'], dtype=np.uint32)
_ASCII_BAND = np.array([ord(c) for c in "\0.::':::"], dtype=np.uint32)


@dataclass(frozen=True)
class DotGrid:
    """The number of dots of a cell, across and down."""

    across: int
    down: int


GRAINS: dict[Marks, DotGrid] = {"braille": DotGrid(2, 4), "ascii": DotGrid(1, 3)}


def dot_rows(fractions: Array, rows: int) -> Array:
    """Heights 0..1 as dot rows from the top, clipped to the edges; NaN remains NaN."""
    return np.clip(np.rint((1.0 - np.clip(fractions, -1.0, 2.0)) * (rows - 1)), 0, rows - 1)


def trace(low: Array, high: Array, bins: Bins, rows: int) -> Dots:
    """The dots of a line: `low` and `high` are its heights 0..1 per dot column.

    Columns that are joined in `bins` are connected, across empty columns by a straight line.
    """
    low, high = _bridge(low, high, bins.joined)
    top, bottom = dot_rows(high, rows), dot_rows(low, rows)
    _touch(top, bottom, bins.joined)
    row = np.arange(rows, dtype=np.float64)[:, None]
    return np.asarray((row >= top) & (row <= bottom))  # NaN compares false: no dots


def _bridge(low: Array, high: Array, joined: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Fill the empty columns left of joined ones, by a line from centre to centre."""
    solid = np.flatnonzero(np.isfinite(low))
    if len(solid) < 2 or solid[-1] - solid[0] + 1 == len(solid):
        return low, high
    low, high = np.clip(low, -1.0, 2.0), np.clip(high, -1.0, 2.0)
    empty = np.flatnonzero(np.isnan(low))
    following = np.searchsorted(solid, empty)
    inner = (following > 0) & (following < len(solid))
    empty, following = empty[inner], following[inner]
    empty = empty[joined[solid[following]]]
    centres = (low[solid] + high[solid]) / 2
    between = np.interp(empty, solid, centres)
    low[empty] = high[empty] = between
    return low, high


def _touch(top: Array, bottom: Array, joined: NDArray[np.bool_]) -> None:
    """Extend neighbouring columns, in place, until they meet halfway."""
    solid = np.isfinite(top)
    # A bridged column continues its left neighbour; so does the joined one at its end.
    bridged = solid & ~joined
    bridged[1:] &= solid[:-1]
    pair = np.flatnonzero((joined[1:] | bridged[1:]) & solid[1:] & solid[:-1])
    if not len(pair):
        return
    old_top, old_bottom = top.copy(), bottom.copy()
    falls = old_top[pair + 1] > old_bottom[pair] + 1  # rows grow downwards
    at = pair[falls]
    middle = np.floor((old_bottom[at] + old_top[at + 1]) / 2)
    bottom[at] = np.maximum(bottom[at], middle)
    top[at + 1] = np.minimum(top[at + 1], middle + 1)
    rises = old_bottom[pair + 1] < old_top[pair] - 1
    at = pair[rises]
    middle = np.floor((old_top[at] + old_bottom[at + 1]) / 2)
    top[at] = np.minimum(top[at], middle + 1)
    bottom[at + 1] = np.maximum(bottom[at + 1], middle)


def to_cells(dots: Dots, marks: Marks, *, band: bool = False) -> Cells:
    """Dots to characters; `band` uses lighter ASCII characters for a raw line."""
    grain = GRAINS[marks]
    rows, columns = dots.shape[0] // grain.down, dots.shape[1] // grain.across
    blocks = dots.reshape(rows, grain.down, columns, grain.across)
    if marks == "braille":
        bits = np.einsum("rdca,da->rc", blocks.astype(np.uint32), _BRAILLE_BITS)
        return np.where(bits > 0, bits + 0x2800, 0).astype(np.uint32)
    weights = np.array([4, 2, 1], dtype=np.uint32)
    bits = np.einsum("rdca,d->rc", blocks.astype(np.uint32), weights)
    found: Cells = np.take(_ASCII_BAND if band else _ASCII_LINE, bits)
    return found
