"""The rows of runs that cannot be read, wholly or in part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tui_trainer.contracts.run import ACTIVE_STATES, ENDED_STATES
from tui_trainer.store.runs.run_folder import why_unreadable
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.snapshots import RunSummary

UNREADABLE = "unreadable"
# What a state file or another tool says; other words are guesses from the files' times.
_KNOWN_STATES = ACTIVE_STATES | ENDED_STATES | {"idle", "crashed", "stale"}


def unreadable_row(location: RunLocation, reason: str) -> RunSummary:
    """The row of a run of which nothing is known but where it lies."""
    problem = f"cannot be read: {reason}"
    return RunSummary(
        location.path, location.id, location.name, location.kind, UNREADABLE, problem=problem
    )


def with_problems(row: RunSummary, *problems: str) -> RunSummary:
    """A row with what else of the run cannot be read; its status stays where a file says it."""
    if not problems:
        return row
    known = tuple(filter(None, (row.problem, *problems)))
    status = row.status if row.status in _KNOWN_STATES else UNREADABLE
    return replace(row, status=status, problem="; ".join(dict.fromkeys(known)))


def record_problem(file: Path, kind: type[Any]) -> str | None:
    """`NAME cannot be read: REASON`; None where the file reads as this kind after all."""
    reason = why_unreadable(file, kind)
    return None if reason is None else f"{file.name} cannot be read: {reason}"
