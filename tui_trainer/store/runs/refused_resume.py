"""Restoring a run's state after a refused resume.

From the start of an engine until its first step, `before` in `state.json` is the state in which
the run was found. It is restored if the session ends before its first step.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from tui_trainer.contracts.runs.run import Event, RunState
from tui_trainer.store import atomic, jsonl
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder


def as_found(state: RunState | None) -> RunState | None:
    """The state to restore if a session that starts now is refused; None for a run that was never
    started."""
    if state is None or state.before is not None:
        return None if state is None else state.before
    return None if state.state == "idle" else state


def refusal_event(before: RunState, message: str, detail: Mapping[str, Any] | None = None) -> Event:
    """The event with the reason why a run was not resumed."""
    return Event(
        time=time.time(),
        step=before.step,
        kind="error",
        message=f"resume refused: {message}",
        detail={"refused": message, **(detail or {})},
    )


def end_untrained(folder: RunFolder, state: RunState, message: str) -> RunState:
    """End a session whose process is gone and that trained no step.

    Restores the state that the resume found, and adds an event with the reason; a run that was
    never started is marked as failed. Returns the new state, also if it cannot be written.
    """
    ended = state.before or msgspec.structs.replace(
        state, state="failed", message=message, eta_seconds=None, updated_at=time.time()
    )
    # The folder may be deleted or read-only; the caller reports the end in any case.
    with contextlib.suppress(OSError):
        if state.before is not None:
            with atomic.appending(folder.events_file) as events:
                events.append(refusal_event(state.before, message))
        run_folder.write_state(folder, ended)
    return ended


def refusal(folder: RunFolder, since: int) -> str | None:
    """Why a resume was refused, from the events after the first `since` bytes; None if it was
    not."""
    try:
        events = jsonl.RecordReader[Event](folder.events_file, Event, since).new()
    except OSError:
        return None
    found = [event.detail["refused"] for event in events if "refused" in event.detail]
    return str(found[-1]) if found else None
