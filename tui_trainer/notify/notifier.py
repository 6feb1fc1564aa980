"""The notifier behind the screen and the command line: from runs that were looked at to sent
notices."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.notify.notice_rules import NoticeRules, SeenRun, ended

if TYPE_CHECKING:  # loaded with the first notice
    from tui_trainer.notify.sender import Sender


class Notifier:
    """Finds what is new on runs and sends a notice of it by every channel that is set.

    Everything slow happens in threads of the sender's. Each method that finds notices gives
    them, so that they can be shown where the user is, too.
    """

    def __init__(
        self,
        settings: NotifySettings,
        *,
        write: Callable[[str], None] | None,
        on_problem: Callable[[str], None],
        since: float | None = None,
    ) -> None:
        """`write` writes to the terminal, where there is one; `on_problem` gets a sentence when
        a channel fails. Both are called from other threads. A run that ended before `since`
        (seconds since the epoch; now, if left out) is no news."""
        self._settings = settings
        self._write = write
        self._on_problem = on_problem
        self._rules = NoticeRules(settings.on, time.time() if since is None else since)
        self._sender: Sender | None = None

    @property
    def waits(self) -> bool:
        """Whether a crash is not certain yet, so that `look` should be called again soon."""
        return self._rules.waits

    def look(self, runs: Iterable[SeenRun]) -> list[Notice]:
        """Sends what is new on the runs."""
        return self._send(self._rules.take(runs, time.time()))

    def judged(self, seen: SeenRun, advice: Iterable[Advice]) -> list[Notice]:
        """Sends what is new among advice that was computed here, on a run without an advisor."""
        return self._send(self._rules.judged(seen, advice, time.time()))

    def has_judged(self, path: Path) -> bool:
        """Whether `judged` knows what there was before on a run."""
        return self._rules.has_judged(path)

    def ended(self, seen: SeenRun) -> list[Notice]:
        """Sends that a run has ended, known for certain."""
        return self._send(ended(seen, self._settings.on, time.time()))

    def flush(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Waits until everything is sent, for `seconds` at most or until `stop`; whether it is."""
        return self._sender is None or self._sender.flush(seconds, stop)

    def close(self) -> None:
        """Ends the threads after what they do now; does not wait for them."""
        if self._sender is not None:
            self._sender.close()

    def _send(self, notices: list[Notice]) -> list[Notice]:
        if notices:
            if self._sender is None:
                self._sender = self._make_sender()
            self._sender.send(notices)
        return notices

    def _make_sender(self) -> Sender:
        from tui_trainer.notify.sender import Sender, ways_of
        from tui_trainer.store.runs.sent_notices import claim

        stopping = threading.Event()
        return Sender(
            ways_of(self._settings, os.environ, self._write, stopping),
            self._settings,
            claim=claim,
            on_problem=self._on_problem,
            stopping=stopping,
        )
