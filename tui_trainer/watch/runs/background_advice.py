"""Advice on the focused run where no advisor ran with it, computed in small pieces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tui_trainer.contracts.advice import Advice, AdvisorSettings
from tui_trainer.watch.error_boundary import caught
from tui_trainer.watch.runs.foreign_advice import ForeignAdvice
from tui_trainer.watch.snapshots import RunView

# Longer runs are left to `runs advise`: they would keep a core busy for seconds.
MOST_ROWS = 50_000
_WORK_SECONDS = 0.02
# After some hundred rows another thread gets the interpreter.
_YIELD_SECONDS = 0.002
REST_SECONDS = 2.0  # between two computations for a run that grows


class BackgroundAdvice:
    """Completes the view of one run at a time with advice.

    `complete` gives a view with what is known so far, at once; `work` computes for 20 ms or so.
    Runs with an advisor of their own are left as they are.
    """

    def __init__(self, settings: AdvisorSettings) -> None:
        self._settings = settings
        self._path: Path | None = None
        self._advice: tuple[Advice, ...] | None = None
        self._problem: str | None = None
        self._computed_for: RunView | None = None
        self._rest_until = 0.0
        self._busy = 0.0  # seconds spent on the computation under way
        self._computation: ForeignAdvice | None = None
        self._remaining: Iterator[None] | None = None
        self._completed: tuple[RunView | None, object, RunView | None] = (None, None, None)

    def complete(self, view: RunView) -> RunView:
        """A view with the advice computed so far; the same object while neither changes."""
        if view.advice is not None or not self._settings.enabled:
            return view
        known = self._path == view.summary.path
        advice = self._advice if known else None
        problem = self._problem if known else None
        stalled = view.summary.stalled
        if advice is None and stalled is None and problem is None:
            return view
        source, of, completed = self._completed
        if source is not view or of != (advice, problem) or completed is None:
            known_advice = (*(advice or ()), *(() if stalled is None else (stalled,)))
            completed = replace(
                view,
                advice=known_advice if advice is not None or known_advice else None,
                advice_computed=advice is not None,
                oddities=(*view.oddities, *(() if problem is None else (problem,))),
            )
            self._completed = view, (advice, problem), completed
        return completed

    def wants(self, view: RunView) -> bool:
        """Whether `work` has something to do for this view now."""
        if view.advice is not None or not self._settings.enabled:
            return False
        if self._path != view.summary.path:
            return 0 < view.train.rows <= MOST_ROWS
        if self._remaining is not None:
            return True
        changed = view is not self._computed_for and 0 < view.train.rows <= MOST_ROWS
        return changed and time.monotonic() >= self._rest_until

    def work(self, view: RunView) -> bool:
        """Computes for 20 ms or so; whether the advice was brought up to date. A run that cannot
        be judged has a `problem` instead."""
        started = time.monotonic()
        try:
            finished = self._work(view, started + _WORK_SECONDS)
        except Exception as error:
            self._remaining = self._computation = None
            self._computed_for = view
            self._problem = f"no advice on this run: {caught(error, view.summary.path)}"
            finished = True
        now = time.monotonic()
        self._busy += now - started
        if finished:
            # A long run that is computed anew each time takes no more than a fifth of a core.
            self._rest_until = now + max(REST_SECONDS, 4 * self._busy)
        return finished

    def _work(self, view: RunView, until: float) -> bool:
        if self._path != view.summary.path:
            self._path, self._advice, self._problem = view.summary.path, None, None
            self._computation = self._remaining = None
        if self._computation is None:
            self._computation = ForeignAdvice(self._settings)
        if self._remaining is None:
            self._remaining, self._computed_for = self._computation.take(view), view
            self._busy = 0.0
        for _ in self._remaining:
            if time.monotonic() >= until:
                return False
            time.sleep(_YIELD_SECONDS)
        self._remaining = None
        self._advice, self._problem = self._computation.advice, None
        return True
