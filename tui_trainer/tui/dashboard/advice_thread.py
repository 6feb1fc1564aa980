"""A thread that computes advice on the shown run where the run has no advisor."""

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

# After some hundred rows the thread yields the CPU to the screen.
_PAUSE_SECONDS = 0.002
_REST_SECONDS = 2.0  # between two computations for a run that grows


class AdviceThread:
    """Computes advice on the newest view of a run and posts `AdviceComputed`."""

    def __init__(self, post: Callable[[Message], object], settings: AdvisorSettings) -> None:
        self._post = post
        self._settings = settings
        self._wanted: RunView | None = None
        self._requested = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._advisors: dict[Path, ForeignAdvice] = {}

    def ask(self, view: RunView) -> None:
        """Requests advice on a run; a newer view replaces a pending one."""
        self._wanted = view
        self._requested.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="advice", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stops the thread; does not wait for it."""
        self._stopped = True
        self._requested.set()

    def _run(self) -> None:
        while not self._stopped:
            self._requested.wait()
            self._requested.clear()
            view = self._wanted
            if view is None or self._stopped:
                continue
            started = time.monotonic()
            try:
                self._compute(view)
            except Exception as error:  # such a run has no advice
                self._advisors = {}
                run = view.summary
                reason = caught(error, run.path)
                self._post(NoticePosted(f"no advice on run {run.name}: {reason}", "warning"))
            # Repeated computations for a long run take at most a fifth of a core.
            self._rest(view, max(_REST_SECONDS, 4 * (time.monotonic() - started)))

    def _rest(self, view: RunView, seconds: float) -> None:
        """Waits, unless another run is shown."""
        until = time.monotonic() + seconds
        while not self._stopped and time.monotonic() < until:
            wanted = self._wanted
            if wanted is not None and wanted.summary.path != view.summary.path:
                return
            time.sleep(0.1)

    def _compute(self, view: RunView) -> None:
        from tui_trainer.watch.runs.foreign_advice import ForeignAdvice

        path = view.summary.path
        advisor = self._advisors.get(path)
        if advisor is None:
            self._advisors = {path: (advisor := ForeignAdvice(self._settings))}  # one run at a time
        for _ in advisor.take(view):
            time.sleep(_PAUSE_SECONDS)
            wanted = self._wanted
            if self._stopped or (wanted is not None and wanted.summary.path != path):
                self._advisors = {}
                return
        self._post(AdviceComputed(path, advisor.advice))
