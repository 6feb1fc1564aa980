"""Rate limit of notices: those that come too soon are delayed and combined into one."""

from __future__ import annotations

from collections import deque

import msgspec

from tui_trainer.contracts.notice import Notice, NoticeKind
from tui_trainer.text import formats

_MOST_DELAYED = 100  # notices; of more, the oldest are dropped
_MOST_CAUSES = 1000
_URGENCY: tuple[NoticeKind, ...] = ("crash", "failure", "hang", "critical", "finish", "test")


class RateLimiter:
    """Limits notices to one per `gap` seconds, and the same advice or hang of a run to one per
    `repeat` seconds. `now` is in seconds of a monotonic clock."""

    def __init__(self, gap: float, repeat: float) -> None:
        self._gap, self._repeat = gap, repeat
        self._delayed: deque[Notice] = deque(maxlen=_MOST_DELAYED)
        self._next = 0.0  # when the next notice may be sent
        self._causes: dict[tuple[str, str], float] = {}  # when each may be sent again

    def put(self, notice: Notice, now: float) -> bool:
        """Add a notice; returns False if it repeats an earlier one and is not sent."""
        cause = _cause(notice)
        if cause is not None:
            if now < self._causes.get(cause, -1.0):
                return False
            if len(self._causes) >= _MOST_CAUSES:
                self._causes.clear()
            self._causes[cause] = now + self._repeat
        self._delayed.append(notice)
        return True

    def wait(self, now: float) -> float | None:
        """Seconds until the next notice may be sent; None if there is none to send."""
        return max(0.0, self._next - now) if self._delayed else None

    def pop_all(self, now: float) -> list[Notice]:
        """Remove and return all delayed notices, even before the wait is over."""
        delayed = list(self._delayed)
        self._delayed.clear()
        self._next = now + self._gap
        return delayed


def combine(notices: list[Notice]) -> Notice:
    """One notice for several: the most urgent one, with the texts of the first five and the
    others in `also`."""
    if len(notices) == 1:
        return notices[0]
    first, *others = sorted(notices, key=lambda one: _URGENCY.index(one.kind))
    return msgspec.structs.replace(
        first,
        title=formats.one_line(f"{first.title}, and {formats.count(len(others))} more", 80),
        text=" · ".join(one.text for one in [first, *others][:5])
        + (f" · and {formats.count(len(others) - 4)} more" if len(others) > 4 else ""),
        also=others,
    )


def _cause(notice: Notice) -> tuple[str, str] | None:
    """What must not be repeated too soon; None for an end, since each one is different."""
    if notice.kind == "hang":
        return notice.path, "hang"
    if notice.kind == "critical" and notice.advice is not None:
        return notice.path, notice.advice.kind
    return None
