"""Advice on the focused run where no advisor ran with it, computed by a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tui_trainer.contracts.advice import Advice, AdvisorSettings
from tui_trainer.watch.error_boundary import caught
from tui_trainer.watch.runs.foreign_advice import ForeignAdvice
from tui_trainer.watch.snapshots import RunView

# Of longer runs the advisor receives means of rows, so that a computation takes seconds at most.
MOST_ROWS = 50_000
# Seconds of sleep after each slice of rows, in which other threads get the interpreter.
_PAUSE_SECONDS = 0.002
# Seconds between two computations for a run that grows.
REST_SECONDS = 2.0


@dataclass(frozen=True)
class _Result:
    """The outcome of the newest computation that finished or failed."""

    source: RunView  # the view that was judged
    # Of an earlier computation if this one failed; None where none has succeeded yet.
    advice: tuple[Advice, ...] | None
    problem: str | None  # why this computation failed, one sentence
    rows_per_mean: int  # 1: each row by itself
    rest_until: float = 0.0  # no further computation for this run before, on the monotonic clock


class BackgroundAdvice:
    """Completes the view of one run at a time with advice.

    `complete` returns a view with the newest advice at once; `request` asks the thread to bring
    it up to date. Runs with an advisor of their own are returned unchanged.

    Args:
        settings: the user's advisor settings.
        on_finished: called from the thread after each computation.
    """

    def __init__(self, settings: AdvisorSettings, on_finished: Callable[[], None]) -> None:
        self._settings = settings
        self._on_finished = on_finished
        self._result: _Result | None = None
        self._requested: RunView | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # The view last completed, the result used, and the outcome.
        self._completed: tuple[RunView, _Result | None, RunView] | None = None

    def complete(self, view: RunView) -> RunView:
        """A view with the advice computed so far; the same object while neither changes."""
        if view.advice is not None or not self._settings.enabled:
            return view
        result = self._result_of(view)
        if result is None and view.summary.stalled is None:
            return view
        last = self._completed
        if last is None or last[0] is not view or last[1] is not result:
            last = self._completed = view, result, _completed(view, result)
        return last[2]

    def request(self, view: RunView) -> None:
        """Starts a computation for this view unless its advice is up to date, was computed less
        than `REST_SECONDS` ago, or is being computed."""
        if view.advice is not None or not self._settings.enabled or not view.train.rows:
            return
        if self._is_recent(view):
            return
        self._requested = view
        self._wake.set()
        if self._thread is None and not self._stopping.is_set():
            self._thread = threading.Thread(target=self._run, name="run-advice", daemon=True)
            self._thread.start()

    def _result_of(self, view: RunView) -> _Result | None:
        """The newest result, if it is of the run that the view shows."""
        result = self._result
        is_same = result is not None and result.source.summary.path == view.summary.path
        return result if is_same else None

    def _is_recent(self, view: RunView) -> bool:
        result = self._result_of(view)
        return result is not None and (
            result.source is view or time.monotonic() < result.rest_until
        )

    def stop(self) -> None:
        """Ends the thread and waits for it."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        computation = ForeignAdvice(self._settings, MOST_ROWS)
        path: Path | None = None
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stopping.is_set():
                return
            view, self._requested = self._requested, None
            if view is None or self._is_recent(view):
                continue
            if path != view.summary.path:
                path, computation = view.summary.path, ForeignAdvice(self._settings, MOST_ROWS)
            started = time.monotonic()
            try:
                if not self._finishes(computation, view):
                    path = None
                    continue
                result = _Result(view, computation.advice, None, computation.rows_per_mean)
            except Exception as error:  # a run that cannot be judged is still shown
                path = None
                result = _failed(view, self._result_of(view), caught(error, view.summary.path))
            # A computation that is repeated as a run grows takes a fifth of a core at most.
            now = time.monotonic()
            rest_until = now + max(REST_SECONDS, 4 * (now - started))
            self._result = replace(result, rest_until=rest_until)
            self._on_finished()

    def _finishes(self, computation: ForeignAdvice, view: RunView) -> bool:
        """Judges the new rows; False where another run is asked for meanwhile, or the end."""
        for _ in computation.update(view):
            requested = self._requested
            other = requested is not None and requested.summary.path != view.summary.path
            if self._stopping.wait(_PAUSE_SECONDS) or other:
                return False
        return True


def _failed(view: RunView, before: _Result | None, reason: str) -> _Result:
    """The result of a failed computation: the advice shown before it remains."""
    if before is None or before.advice is None:
        return _Result(view, None, f"no advice on this run: {reason}", 1)
    problem = f"the advice on this run is not up to date: {reason}"
    return _Result(view, before.advice, problem, before.rows_per_mean)


def _completed(view: RunView, result: _Result | None) -> RunView:
    """The view with a computation's result and with the step that hangs now."""
    stalled = () if view.summary.stalled is None else (view.summary.stalled,)
    if result is None:
        return replace(view, advice=stalled)
    if result.problem is not None:
        view = replace(view, warnings=(*view.warnings, result.problem))
    if result.advice is None:
        return replace(view, advice=stalled or None)
    return replace(
        view,
        advice=(*result.advice, *stalled),
        advice_computed=True,
        advice_rows_per_mean=result.rows_per_mean,
    )
