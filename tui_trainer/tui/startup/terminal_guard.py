"""Reacts to termination signals and to the loss of the terminal."""

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
    """Ends the session when its terminal is lost; training processes depend on neither.

    A terminal that is lost without SIGHUP (which nohup ignores) blocks every write, so that the
    app may be unable to exit: after a grace period of 1 s the process exits at once.
    """

    def __init__(self, exit_app: Callable[[int], None]) -> None:
        """`exit_app` is called in the app's thread with the exit status."""
        self._exit = exit_app
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start, if standard input is a terminal."""
        if sys.__stdin__ is None or not sys.__stdin__.isatty():
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._exit, TERMINATED)
        work = threading.Thread(target=self._watch, args=(loop,), name="terminal", daemon=True)
        work.start()

    def stop(self) -> None:
        """Stop."""
        self._stopped.set()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopped.wait(_CHECK_SECONDS):
            if is_gone(0):
                loop.call_soon_threadsafe(self._exit, LOST)
                if not self._stopped.wait(_GRACE_SECONDS):
                    os._exit(LOST)
                return


def is_gone(descriptor: int) -> bool:
    """Whether a descriptor that was a terminal no longer is one."""
    return not os.isatty(descriptor)
