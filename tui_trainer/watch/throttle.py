"""How often a stream of changes is worth being told."""

from __future__ import annotations

from collections import deque

# Changes a second from which on they are a stream, and how often a stream is told.
STREAM = 12
PER_SECOND = 9
_WINDOW = 1.0


class Throttle:
    """Lets single changes through at once, and holds a stream of them to `PER_SECOND`.

    Up to ten changes a second, each is worth being told by itself; from `STREAM` on nobody could
    read them one by one. Times are of one steady clock.
    """

    def __init__(self) -> None:
        self._changes: deque[tuple[float, int]] = deque()

    def record(self, now: float, changes: int = 1) -> None:
        """So many changes were told together."""
        self._changes.append((now, changes))
        while self._changes[0][0] <= now - _WINDOW:
            self._changes.popleft()

    def next(self, now: float) -> float:
        """The earliest time to tell the next ones: a time gone by for at once."""
        return self._changes[-1][0] + 1 / PER_SECOND if self.is_stream(now) else 0.0

    def is_stream(self, now: float) -> bool:
        """Whether changes come as a stream."""
        return sum(changes for at, changes in self._changes if at > now - _WINDOW) >= STREAM
