"""Limits how often changes are shown."""

from __future__ import annotations

from collections import deque

# Changes per second from which on they are a stream, and updates per second of a stream.
STREAM = 12
PER_SECOND = 9
_WINDOW = 1.0


class Throttle:
    """Passes single changes at once, and limits a stream of them to `PER_SECOND` updates.

    Up to about ten changes per second are shown one by one; `STREAM` and more nobody could read.
    Times are those of one monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._changes: deque[tuple[float, int]] = deque()

    def record(self, now: float, changes: int = 1) -> None:
        """Records that so many changes were shown together."""
        self._changes.append((now, changes))
        while self._changes[0][0] <= now - _WINDOW:
            self._changes.popleft()

    def next(self, now: float) -> float:
        """The earliest time to show the next changes; 0 for at once."""
        return self._changes[-1][0] + 1 / PER_SECOND if self.is_stream(now) else 0.0

    def is_stream(self, now: float) -> bool:
        """Whether the changes of the last second are a stream."""
        return sum(changes for at, changes in self._changes if at > now - _WINDOW) >= STREAM
