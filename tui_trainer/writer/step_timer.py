"""How fast somebody else's loop goes, seen from when it reports."""

from __future__ import annotations

import time
from collections import deque
from statistics import median

# Reports that the pace is judged by.
_KEPT = 50


class StepTimer:
    """Seconds per step and tokens per second, from the times of reports.

    Time that is no training (`rest`: pauses, evaluations) does not count.
    """

    def __init__(self) -> None:
        self._begun: float | None = None
        self._last: tuple[int, float] | None = None
        self._rest = 0.0
        self._seconds: deque[float] = deque(maxlen=_KEPT)
        self._tokens: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._row: tuple[int, float] | None = None

    def rest(self, seconds: float) -> None:
        """So many seconds until now were no training."""
        self._rest += seconds

    def now(self) -> float:
        """Seconds on a clock that stands still while the loop rests."""
        return time.monotonic() - self._rest

    def elapsed(self) -> float:
        """Seconds of training since the first report."""
        return 0.0 if self._begun is None else self.now() - self._begun

    def begin(self) -> None:
        """Training begins now."""
        if self._begun is None:
            self._begun = self.now()

    def step(self, step: int) -> None:
        """A step is finished."""
        now = self.now()
        if self._last is not None and step > self._last[0]:
            self._seconds.append((now - self._last[1]) / (step - self._last[0]))
        if self._last is None or step != self._last[0]:
            self._last = (step, now)

    def row(self, step: int, tokens: float | None) -> tuple[int, float] | None:
        """A row of metrics is written: the steps that it stands for and their seconds in all,
        or None for the first. `tokens` counts those of all these steps."""
        now, before = self.now(), self._row
        self._row = (step, now)
        if before is None or step <= before[0]:
            return None
        seconds = now - before[1]
        if tokens is not None and seconds > 0:
            self._tokens.append((tokens, seconds))
        return step - before[0], seconds

    def tokens_per_second(self) -> float | None:
        """Over the latest rows that told their tokens."""
        seconds = sum(item[1] for item in self._tokens)
        return sum(item[0] for item in self._tokens) / seconds if seconds > 0 else None

    def eta(self, steps_left: int | None) -> float | None:
        """Seconds until the end at the median pace of late steps."""
        if steps_left is None or not self._seconds:
            return None
        return max(0, steps_left) * median(self._seconds)
