"""`--debug`: the tracebacks of errors that ended at one run or file, on standard error.

While the full-screen session draws there they are held back, and printed when it is left.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterator

from tui_trainer.cli import output
from tui_trainer.text import formats

_MOST_HELD = 100


class _DebugLog(logging.Handler):
    """Prints each record once: a run that is looked at every second fails every second."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.holding = False
        self.held: deque[str] = deque(maxlen=_MOST_HELD)
        self._seen: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if hash(text) in self._seen or len(self._seen) >= _MOST_HELD:
            return
        self._seen.add(hash(text))
        if self.holding:
            self.held.append(text)
        else:
            output.say(formats.escape_lines(text))


def start() -> None:
    """Prints what `tui_trainer`'s own log says from now on."""
    stop()
    log = logging.getLogger("tui_trainer")
    log.addHandler(_DebugLog())
    log.setLevel(logging.DEBUG)


def stop() -> None:
    """Ends what `start` began."""
    for handler in _handlers():
        log = logging.getLogger("tui_trainer")
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Holds the log back while a full-screen session is shown."""
    for handler in _handlers():
        handler.holding = True
    try:
        yield
    finally:
        for handler in _handlers():
            handler.holding = False
            while handler.held:
                output.say(formats.escape_lines(handler.held.popleft()))


def _handlers() -> list[_DebugLog]:
    log = logging.getLogger("tui_trainer")
    return [handler for handler in log.handlers if isinstance(handler, _DebugLog)]
