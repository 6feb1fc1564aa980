"""Speed of another program's training loop, from the times at which it reports."""

from __future__ import annotations

import time
from collections import deque
from statistics import median

_KEPT = 50  # newest reports that the speed is computed from


class StepTimer:
    """Seconds per step and tokens per second, from the times of reports.

    Time that is not training, such as pauses and evaluations, is excluded.
    """

    def __init__(self) -> None:
        self._started: float | None = None
        self._last: tuple[int, float] | None = None  # newest step, and when it was reported
        self._excluded = 0.0
        self._seconds: deque[float] = deque(maxlen=_KEPT)  # per step
        self._tokens: deque[tuple[float, float]] = deque(maxlen=_KEPT)  # tokens, seconds
        self._row: tuple[int, float] | None = None  # step of the newest row, and its time

    def exclude(self, seconds: float) -> None:
        """Exclude the last `seconds` from the training time."""
        self._excluded += seconds

    def now(self) -> float:
        """Seconds of a monotonic clock without the excluded times."""
        return time.monotonic() - self._excluded

    def elapsed(self) -> float:
        """Seconds of training since the first report."""
        return 0.0 if self._started is None else self.now() - self._started

    def start(self) -> None:
        """Start counting training time; does nothing after the first call."""
        if self._started is None:
            self._started = self.now()

    def step(self, step: int) -> None:
        """Note that a step is finished."""
        now = self.now()
        if self._last is not None and step > self._last[0]:
            self._seconds.append((now - self._last[1]) / (step - self._last[0]))
        if self._last is None or step != self._last[0]:
            self._last = (step, now)

    def row(self, step: int, tokens: float | None) -> tuple[int, float] | None:
        """Note a row of metrics; returns the number of steps since the row before and the seconds
        they took, or None for the first row. `tokens` is the count of all these steps."""
        now, before = self.now(), self._row
        self._row = (step, now)
        if before is None or step <= before[0]:
            return None
        seconds = now - before[1]
        if tokens is not None and seconds > 0:
            self._tokens.append((tokens, seconds))
        return step - before[0], seconds

    def tokens_per_second(self) -> float | None:
        """Tokens per second over the newest rows that have a token count."""
        seconds = sum(item[1] for item in self._tokens)
        return sum(item[0] for item in self._tokens) / seconds if seconds > 0 else None

    def eta(self, remaining_steps: int | None) -> float | None:
        """Seconds until the end, at the median time of the newest steps."""
        if remaining_steps is None or not self._seconds:
            return None
        return max(0, remaining_steps) * median(self._seconds)
