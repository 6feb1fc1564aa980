"""What happens to the terminal itself: signals, and its loss."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable

LOST, TERMINATED = 129, 143  # exit statuses, as a shell gives them for SIGHUP and SIGTERM
_CHECK_SECONDS = 2.0
_GRACE_SECONDS = 1.0


class TerminalGuard:
    """Ends the session with its terminal; training processes do not depend on either.

    A terminal that is gone without SIGHUP (it is ignored under nohup) blocks every write, so
    the app may be unable to end by itself: after a second of grace the process ends at once.
    """

    def __init__(self, leave: Callable[[int], None]) -> None:
        """`leave` is called in the app's own thread with the exit status."""
        self._leave = leave
        self._left = threading.Event()

    def start(self) -> None:
        """Starts guarding, where standard input is a terminal."""
        if sys.__stdin__ is None or not sys.__stdin__.isatty():
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._leave, TERMINATED)
        work = threading.Thread(target=self._watch, args=(loop,), name="terminal", daemon=True)
        work.start()

    def stop(self) -> None:
        """Ends the guarding."""
        self._left.set()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._left.wait(_CHECK_SECONDS):
            if is_gone(0):
                loop.call_soon_threadsafe(self._leave, LOST)
                if not self._left.wait(_GRACE_SECONDS):
                    os._exit(LOST)
                return


def is_gone(descriptor: int) -> bool:
    """Whether what was a terminal is none any more."""
    return not os.isatty(descriptor)
