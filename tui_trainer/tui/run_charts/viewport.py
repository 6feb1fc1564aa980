"""The visible part of the x axis: zooming, moving, following the live end. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace

Range = tuple[float, float]
_FACTOR = 0.6  # of the width that remains after one zoom step
_STRIDE = 0.25  # of the width moved by one key press
_SMALLEST = 1e-6  # of the whole axis
_AT_THE_END = 0.9  # from here on the pointer counts as at the live end


@dataclass(frozen=True)
class Viewport:
    """A view of `width` x units (None: the whole axis) that ends at `high`, or, if it `follows`, at
    the end of the data."""

    width: float | None = None
    high: float = 0.0
    follows: bool = True

    def shown(self, whole: Range) -> Range | None:
        """The range to draw, or None for all of `whole`."""
        if self.width is None or self.width >= whole[1] - whole[0]:
            return None
        high = whole[1] if self.follows else min(max(self.high, whole[0] + self.width), whole[1])
        return high - self.width, high

    def zoomed(self, direction: int, whole: Range, at: float | None = None) -> Viewport:
        """Zoom one step in (1) or out (-1), or to the whole axis (0), around `at` (0..1).

        With `at` None a view of the live end stays there, any other keeps its middle.
        """
        extent = whole[1] - whole[0]
        if direction == 0 or extent <= 0:
            return Viewport()
        low, high = self.shown(whole) or whole
        width = (high - low) * (_FACTOR if direction > 0 else 1 / _FACTOR)
        if width >= extent:
            return Viewport()
        width = max(width, extent * _SMALLEST)
        if self.follows and high >= whole[1] and (at is None or at > _AT_THE_END):
            return Viewport(width, high, True)
        at = 0.5 if at is None else at
        anchor = low + at * (high - low)
        return Viewport(width, anchor + (1 - at) * width, False).settled(whole)

    def panned(self, direction: int, whole: Range) -> Viewport:
        """Move a quarter of the width earlier (-1) or later (1); the whole axis cannot move."""
        return self.moved(direction * _STRIDE, whole)

    def moved(self, share: float, whole: Range) -> Viewport:
        """Move by `share` of the width, later if positive."""
        shown = self.shown(whole)
        if shown is None or self.width is None:
            return self
        high = shown[1] + share * self.width
        return replace(self, high=high, follows=False).settled(whole)

    def with_x(self, x: float, whole: Range) -> Viewport:
        """Move as little as needed to show `x`."""
        shown = self.shown(whole)
        if shown is None or self.width is None or shown[0] <= x <= shown[1]:
            return self
        off = x - shown[1] if x > shown[1] else x - shown[0]
        return self.moved(off / self.width, whole)

    def settled(self, whole: Range) -> Viewport:
        """Limit to the data; follow again if it touches their end."""
        shown = self.shown(whole)
        if shown is None:
            return Viewport()
        return replace(self, high=shown[1], follows=shown[1] >= whole[1])


ALL = Viewport()
