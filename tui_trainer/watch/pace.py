"""How often a stream of changes is worth being told."""

from __future__ import annotations

from collections import deque


class Pace:
    """Lets single changes through at once and holds a stream of them to `per_second`.

    While fewer were told in the last second there is nothing to wait for; else they are spread
    evenly. Times are of one steady clock.
    """

    def __init__(self, per_second: int = 11) -> None:
        self._even = 1.0 / per_second
        self._times: deque[float] = deque(maxlen=per_second)

    def told(self, now: float) -> None:
        """A change was told."""
        self._times.append(now)

    def next(self) -> float:
        """The earliest time to tell the next one."""
        if len(self._times) < (self._times.maxlen or 0):
            return 0.0
        busy = self._times[-1] - self._times[0] < 1.0 - self._even
        return self._times[-1] + self._even if busy else 0.0

    def streams(self, now: float) -> bool:
        """Whether changes come as a stream: the last of many was told within a second."""
        return self.next() > 0.0 and now - self._times[-1] < 1.0
