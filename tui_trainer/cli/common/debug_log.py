"""`--debug`: prints the tracebacks of errors in single runs or files to standard error.

While the full-screen session is shown they are held back, and printed when it ends.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterator

from tui_trainer.cli.common import output
from tui_trainer.text import formats

_MOST_HELD = 100


class _DebugLog(logging.Handler):
    """Prints each record once, as a run that is read every second fails every second."""

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
            output.message(formats.escape_lines(text))


def start() -> None:
    """Print the records of the log `tui_trainer` from now on."""
    stop()
    log = logging.getLogger("tui_trainer")
    log.addHandler(_DebugLog())
    log.setLevel(logging.DEBUG)


def stop() -> None:
    """Undo `start`."""
    for handler in _handlers():
        log = logging.getLogger("tui_trainer")
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold the log back while a full-screen session is shown."""
    for handler in _handlers():
        handler.holding = True
    try:
        yield
    finally:
        for handler in _handlers():
            handler.holding = False
            while handler.held:
                output.message(formats.escape_lines(handler.held.popleft()))


def _handlers() -> list[_DebugLog]:
    log = logging.getLogger("tui_trainer")
    return [handler for handler in log.handlers if isinstance(handler, _DebugLog)]
