"""The summaries of runs that cannot be read, or not completely."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tui_trainer.contracts.runs.run import ACTIVE_STATES, ENDED_STATES
from tui_trainer.store.runs.run_folder import why_unreadable
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.snapshots import RunSummary

UNREADABLE = "unreadable"
# Statuses from a state file or another tool; all others are guessed from the files' times.
_KNOWN_STATES = ACTIVE_STATES | ENDED_STATES | {"idle", "crashed", "stale"}


def unreadable_row(location: RunLocation, reason: str) -> RunSummary:
    """The summary of a run of which only the location is known."""
    problem = f"cannot be read: {reason}"
    return RunSummary(
        location.path, location.id, location.name, location.kind, UNREADABLE, problem=problem
    )


def with_problems(row: RunSummary, *problems: str) -> RunSummary:
    """A summary with further problems; the status becomes `UNREADABLE` unless a file records
    it."""
    if not problems:
        return row
    known = tuple(filter(None, (row.problem, *problems)))
    status = row.status if row.status in _KNOWN_STATES else UNREADABLE
    return replace(row, status=status, problem="; ".join(dict.fromkeys(known)))


def record_problem(file: Path, kind: type[Any]) -> str | None:
    """`NAME cannot be read: REASON`; None where the file can be read as this kind."""
    reason = why_unreadable(file, kind)
    return None if reason is None else f"{file.name} cannot be read: {reason}"
