"""The notifier of the screen and the command line: sends notices about observed runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.notify.notice_rules import NoticeRules, SeenRun, end_notices

if TYPE_CHECKING:  # imported with the first notice
    from tui_trainer.notify.sender import Sender


class Notifier:
    """Finds what is new on runs and sends a notice of it through every channel that is set.

    Notices are sent in background threads. Methods that send notices also return them, so that
    they can be shown on the screen.
    """

    def __init__(
        self,
        settings: NotifySettings,
        *,
        write: Callable[[str], None] | None,
        on_problem: Callable[[str], None],
        since: float | None = None,
    ) -> None:
        """`write` writes to the terminal; None without one. `on_problem` gets a sentence when a
        channel fails. Both are called from other threads. The end of a run gives no notice if it
        was before `since` (seconds since the epoch; default: now)."""
        self._settings = settings
        self._write = write
        self._on_problem = on_problem
        self._rules = NoticeRules(settings.on, time.time() if since is None else since)
        self._sender: Sender | None = None

    @property
    def awaits_crash(self) -> bool:
        """Whether a crash is not confirmed yet, so that `check` should be called again soon."""
        return self._rules.awaits_crash

    def check(self, runs: Iterable[SeenRun]) -> list[Notice]:
        """Send notices of what is new on the runs."""
        return self._send(self._rules.check(runs, time.time()))

    def check_advice(self, seen: SeenRun, advice: Iterable[Advice]) -> list[Notice]:
        """Send notices of new critical advice that was computed here for a run of another tool."""
        return self._send(self._rules.check_advice(seen, advice, time.time()))

    def has_checked_advice(self, path: Path) -> bool:
        """Whether `check_advice` was called for a run."""
        return self._rules.has_checked_advice(path)

    def send_end(self, seen: SeenRun) -> list[Notice]:
        """Send a notice of a run's end that is known for certain."""
        return self._send(end_notices(seen, self._settings.on, time.time()))

    def flush(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Wait until everything is sent, at most `seconds` or until `stop()`; returns whether all
        was sent."""
        return self._sender is None or self._sender.flush(seconds, stop)

    def close(self) -> None:
        """Stop the threads after the notice that they send now, without waiting."""
        if self._sender is not None:
            self._sender.close()

    def _send(self, notices: list[Notice]) -> list[Notice]:
        if notices:
            if self._sender is None:
                self._sender = self._make_sender()
            self._sender.send(notices)
        return notices

    def _make_sender(self) -> Sender:
        from tui_trainer.notify.sender import Sender, open_channels
        from tui_trainer.store.runs.sent_notices import claim

        stopping = threading.Event()
        return Sender(
            open_channels(self._settings, os.environ, self._write, stopping),
            self._settings,
            claim=claim,
            on_problem=self._on_problem,
            stopping=stopping,
        )
