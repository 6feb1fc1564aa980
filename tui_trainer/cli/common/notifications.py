"""Sends notifications about a run without a screen."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from tui_trainer.cli.common import output
from tui_trainer.contracts.notice import NotifySettings
from tui_trainer.contracts.runs.run import ACTIVE_STATES, RunState
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.notify.notice_rules import SeenRun, resume_hint
from tui_trainer.notify.notifier import Notifier
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.watch.runs.hang_detector import HangDetector

CHECK_SECONDS = 1.0
FLUSH_SECONDS = 15.0
QUIET_SECONDS = 1.5  # a longer wait at the end is explained


class RunNotifications:
    """Checks one run once a second and sends notifications about it."""

    def __init__(self, folder: RunFolder, settings: NotifySettings) -> None:
        self._folder = RunFolder(folder.path.absolute())
        self._hang_detector = HangDetector(folder)
        self._info = folder.info()
        self._next = 0.0
        self._notifier = Notifier(settings, write=terminal_writer(), on_problem=warn)

    def poll(self) -> list[str]:
        """Called every few milliseconds while the engine runs; returns what is to be printed."""
        now = time.monotonic()
        if now < self._next:
            return []
        self._next = now + CHECK_SECONDS
        state = self._folder.state()
        # The end is reported by `end`, when the process has ended.
        status = state.state if state is not None and state.state in ACTIVE_STATES else "idle"
        self._hang_detector.check(state, status, self._info)
        notices = self._notifier.check([self._seen(status, state)])
        # Advice is printed as an event of the run.
        return [notice.text for notice in notices if notice.kind == "hang"]

    def end(self, end: EngineEnd, interrupted: Callable[[], bool]) -> None:
        """Send the notification of the end and wait for it, for a while or until
        `interrupted`."""
        self._hang_detector.check(self._folder.state(), "idle", self._info)
        seen = self._seen(end.status, self._folder.state(), end.message)
        self._notifier.check([self._seen("idle", None)])
        if not end.refused:  # the run is unchanged
            self._notifier.send_end(seen)
        if not self._notifier.flush(QUIET_SECONDS, interrupted) and not interrupted():
            output.message(
                "a notification is still being sent; press Ctrl-C to exit without waiting"
            )
            self._notifier.flush(FLUSH_SECONDS, interrupted)
        self._notifier.close()

    def _seen(self, status: str, state: RunState | None, message: str = "") -> SeenRun:
        crashed = status == "crashed"
        return SeenRun(
            path=self._folder.path,
            run=self._folder.path.name,
            name=self._info.name if self._info is not None else self._folder.path.name,
            status=status,
            step=state.step if state is not None else None,
            total_steps=state.total_steps if state is not None else None,
            best_val_loss=state.best_val_loss if state is not None else None,
            message=message,
            updated_at=state.updated_at if state is not None else None,
            stalled=self._hang_detector.stalled,
            critical=self._hang_detector.critical,
            resume=resume_hint(self._folder.path.name) if crashed else "",
        )


def terminal_writer() -> Callable[[str], None] | None:
    """A function that writes to standard error, or None where that is not a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None

    def write(text: str) -> None:
        stream = sys.stderr
        data = text.encode(stream.encoding or "utf-8", "replace")
        stream.flush()
        os.write(stream.fileno(), data)

    return write


def warn(problem: str) -> None:
    """Print a warning to standard error."""
    output.message(f"warning: {formats.escape(problem)}")
