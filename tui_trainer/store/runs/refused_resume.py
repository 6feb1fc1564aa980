"""What a refused resume leaves behind: the run as it was found.

From the moment that an engine is started until it trains, `state.json` keeps in `before` the
state in which the run was found. A session that ends before its first step puts it back.
"""

from __future__ import annotations

import contextlib
import time

import msgspec

from tui_trainer.contracts.run import Event, RunState
from tui_trainer.store import atomic, jsonl
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder


def as_found(state: RunState | None) -> RunState | None:
    """The state that a session which begins now is to put back where it is refused; None for a
    run that never had another than waiting."""
    if state is None or state.before is not None:
        return None if state is None else state.before
    return None if state.state == "idle" else state


def refusal_event(before: RunState, message: str) -> Event:
    """The event that says why a run was not resumed."""
    return Event(
        time=time.time(),
        step=before.step,
        kind="error",
        message=f"resume refused: {message}",
        detail={"refused": message},
    )


def end_untrained(folder: RunFolder, state: RunState, message: str) -> RunState:
    """Ends a session that is gone without having trained: puts back what the resume found, and
    adds the event that says why; a run that had never been started has failed. Gives the state
    that holds now, also where it cannot be written."""
    ended = state.before or msgspec.structs.replace(
        state, state="failed", message=message, eta_seconds=None, updated_at=time.time()
    )
    # The folder may have gone away or become read-only; whoever asks is told all the same.
    with contextlib.suppress(OSError):
        if state.before is not None:
            with atomic.appending(folder.events_file) as events:
                events.append(refusal_event(state.before, message))
        run_folder.write_state(folder, ended)
    return ended


def refusal(folder: RunFolder, since: int) -> str | None:
    """Why a resume was refused, from the events after the first `since` bytes; None where it
    was not."""
    try:
        events = jsonl.RecordReader[Event](folder.events_file, Event, since).new()
    except OSError:
        return None
    found = [event.detail["refused"] for event in events if "refused" in event.detail]
    return str(found[-1]) if found else None
