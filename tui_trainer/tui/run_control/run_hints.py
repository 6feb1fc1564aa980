"""Which keys the bottom line shows for a run in its present state. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.tui.common import run_status
from tui_trainer.tui.keymap import COMMAND_KEYS, Key

if TYPE_CHECKING:
    from tui_trainer.watch.snapshots import RunSummary

_FINISHED = frozenset({"completed", "early_stopped"})
_OF_OURS = frozenset({"resume_run", "adopt", "again"})  # keys for runs of this program


def is_useful(key: Key, run: RunSummary | None) -> bool:
    """Whether a key has something to do with this run."""
    if run is None:
        return key.id not in COMMAND_KEYS | _OF_OURS
    if key.id in COMMAND_KEYS:
        return run.commandable
    states = {"resume_run": run_status.RESUMABLE, "adopt": _FINISHED | {"cancelled"}}.get(key.id)
    if key.id in _OF_OURS:
        return run.ours and (states is None or run.status in states)
    return True


def hint_of(key: Key, run: RunSummary | None) -> tuple[str, int]:
    """The label and the rank of a key: of an ended run, what can be done next comes first."""
    if run is None:
        return key.label, key.rank
    if key.id == "pause" and run.status == "paused":
        return "resume", key.rank
    if run.status in _FINISHED:
        return key.label, {"adopt": 3, "again": 4, "details": 5}.get(key.id, key.rank)
    if run.status in run_status.RESUMABLE:
        return key.label, {"resume_run": 3, "again": 4, "details": 5}.get(key.id, key.rank)
    return key.label, key.rank
