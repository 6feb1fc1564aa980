"""A thread that judges the shown run where no advisor ran along with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from tui_trainer.tui.messages import AdviceComputed, NoticePosted
from tui_trainer.watch.error_boundary import caught

if TYPE_CHECKING:  # loaded by the thread
    from tui_trainer.contracts.advice import AdvisorSettings
    from tui_trainer.watch.runs.foreign_advice import ForeignAdvice
    from tui_trainer.watch.snapshots import RunView

# After some hundred rows the thread leaves the processor to the screen for a moment.
_PAUSE_SECONDS = 0.002
_REST_SECONDS = 2.0  # between two judgements of a run that grows


class AdviceThread:
    """Takes the newest view of a run, and posts `RunJudged` with the advice on it."""

    def __init__(self, post: Callable[[Message], object], settings: AdvisorSettings) -> None:
        self._post = post
        self._settings = settings
        self._wanted: RunView | None = None
        self._news = threading.Event()
        self._left = False
        self._thread: threading.Thread | None = None
        self._judging: dict[Path, ForeignAdvice] = {}

    def ask(self, view: RunView) -> None:
        """Has a run judged; a newer view replaces one that still waits."""
        self._wanted = view
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="judge", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread soon; does not wait for it."""
        self._left = True
        self._news.set()

    def _run(self) -> None:
        while not self._left:
            self._news.wait()
            self._news.clear()
            view = self._wanted
            if view is None or self._left:
                continue
            begun = time.monotonic()
            try:
                self._judge(view)
            except Exception as error:  # a run that cannot be judged has no advice
                self._judging = {}
                run = view.summary
                reason = caught(error, run.path)
                self._post(NoticePosted(f"run {run.name} cannot be judged: {reason}", "warning"))
            # A long run that is judged anew each time takes no more than a fifth of a core.
            self._rest(view, max(_REST_SECONDS, 4 * (time.monotonic() - begun)))

    def _rest(self, view: RunView, seconds: float) -> None:
        """Waits, but not for a run that is not shown any more."""
        until = time.monotonic() + seconds
        while not self._left and time.monotonic() < until:
            wanted = self._wanted
            if wanted is not None and wanted.summary.path != view.summary.path:
                return
            time.sleep(0.1)

    def _judge(self, view: RunView) -> None:
        from tui_trainer.watch.runs.foreign_advice import ForeignAdvice

        path = view.summary.path
        judging = self._judging.get(path)
        if judging is None:
            self._judging = {path: (judging := ForeignAdvice(self._settings))}  # one run at a time
        for _ in judging.take(view):
            time.sleep(_PAUSE_SECONDS)
            wanted = self._wanted
            if self._left or (wanted is not None and wanted.summary.path != path):
                self._judging = {}
                return
        self._post(AdviceComputed(path, judging.advice))
