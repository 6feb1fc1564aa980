"""A thread that writes files while training continues, one task at a time, in order."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundWriter:
    """Runs one task at a time in a thread. An exception of a task is raised by the next call."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, task: Callable[[], None]) -> None:
        """Start `task` after the previous one has ended."""
        self.wait()

        def run() -> None:
            try:
                task()
            except BaseException as error:
                self._error = error

        # Not a daemon thread, so that the interpreter waits for it before it exits.
        self._thread = threading.Thread(target=run, name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Wait until the task has ended."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
