"""How often notices are sent: ones that come too soon are held back and sent as one."""

from __future__ import annotations

from collections import deque

import msgspec

from tui_trainer.contracts.notice import Notice, NoticeKind
from tui_trainer.text import formats

_MOST = 100  # notices held back; of more, the oldest are lost
_REMEMBERED = 1000
_URGENCY: tuple[NoticeKind, ...] = ("crash", "failure", "hang", "critical", "finish", "test")


class RateLimiter:
    """Holds notices to one in `gap` seconds, and the same advice or hang of a run to one in
    `repeat` seconds. Times are of one steady clock."""

    def __init__(self, gap: float, repeat: float) -> None:
        self._gap, self._repeat = gap, repeat
        self._held: deque[Notice] = deque(maxlen=_MOST)
        self._next = 0.0
        self._causes: dict[tuple[str, str], float] = {}

    def put(self, notice: Notice, now: float) -> bool:
        """Takes a notice in; False where it repeats an earlier one and is not sent."""
        cause = _cause(notice)
        if cause is not None:
            if now < self._causes.get(cause, -1.0):
                return False
            if len(self._causes) >= _REMEMBERED:
                self._causes.clear()
            self._causes[cause] = now + self._repeat
        self._held.append(notice)
        return True

    def wait(self, now: float) -> float | None:
        """Seconds until there is something to tell, 0 for now; None while there is nothing."""
        return max(0.0, self._next - now) if self._held else None

    def take(self, now: float) -> list[Notice]:
        """All that was held back, however long the wait would still be."""
        held = list(self._held)
        self._held.clear()
        self._next = now + self._gap
        return held


def together(notices: list[Notice]) -> Notice:
    """One notice for several: the most urgent one, with the texts of all, and the others in
    `also`."""
    if len(notices) == 1:
        return notices[0]
    first, *others = sorted(notices, key=lambda one: _URGENCY.index(one.kind))
    return msgspec.structs.replace(
        first,
        title=formats.one_line(f"{first.title}, and {len(others)} more", 80),
        text=" · ".join(one.text for one in [first, *others][:5])
        + (f" · and {len(others) - 4} more" if len(others) > 4 else ""),
        also=others,
    )


def _cause(notice: Notice) -> tuple[str, str] | None:
    """What must not be repeated; an end may be, for each is another."""
    if notice.kind == "hang":
        return notice.path, "hang"
    if notice.kind == "critical" and notice.advice is not None:
        return notice.path, notice.advice.kind
    return None
