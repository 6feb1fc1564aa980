"""A learning rate that was set by a command and after which a run broke: a resume must not set it
again without being asked to."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tui_trainer.advisor.event_history import read_events
from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.contracts.run import Event
from tui_trainer.contracts.schedule import RateChange, learning_rate_at
from tui_trainer.launch.rollback_offer import SPOILT
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder

_RESUMABLE = ("failed", "crashed", "cancelled")


@dataclass(frozen=True)
class BrokenRate:
    """A run that went wrong after `rate` was set at `step` (finished steps); without it the rate
    would have been `before`.

    `checkpoint` is the newest whole one from before that, or the start of the run. `peak` is the
    schedule's peak with which the rate is `before` again; None where the checkpoint has it.
    """

    name: str
    path: str
    status: str
    step: int
    rate: float
    before: float
    checkpoint: str
    peak: float | None

    @property
    def what(self) -> str:
        """What happened, as the beginning of a sentence."""
        return (
            f"{self.name} went wrong after its learning rate was set to {self.rate:.3g} at step "
            f"{self.step:,} ({self.before:.3g} before)"
        )

    @property
    def way(self) -> str:
        """How training goes on without that rate."""
        start = checkpoints.START
        place = "from the start again" if self.checkpoint == start else f"from {self.checkpoint}"
        peak = "" if self.peak is None else f", with a peak rate of {self.peak:g}"
        return f"{place}, without that rate{peak}"

    @property
    def command(self) -> str:
        """The same from a shell."""
        peak = "" if self.peak is None else f" --set training.learning_rate={self.peak:g}"
        return f"tui-trainer resume {shlex.quote(self.path)} --from {self.checkpoint}{peak}"


@dataclass(frozen=True)
class _Change:
    """An event that changed the rate: its place among the events, and the rate of the next step
    with and without it."""

    index: int
    step: int
    by_person: bool
    state: RateChange
    before: float
    after: float


def broken_rate(folder: RunFolder) -> BrokenRate | None:
    """The rate after which an ended run broke; None where it did not, or not after a command.

    A run broke where it ended on numbers that are not finite, or while advice stood that its
    weights are spoilt. Only a rate that was raised can have done it.
    """
    info, state, status = folder.info(), folder.state(), folder.status()
    if info is None or state is None or status not in _RESUMABLE:
        return None
    events = folder.events()
    trouble = _trouble(events, status)
    if trouble is None:
        return None
    training = info.job.training
    total = state.total_steps or training.max_steps or 1
    changes = _changes(events, training, total)
    raised = [
        change
        for change in changes
        if change.by_person and change.after > change.before * 1.001 and change.step < trouble
    ]
    if not raised:
        return None
    change = raised[-1]
    step, checkpoint = _checkpoint(folder, events, change)
    # What the checkpoint has of changes made before it.
    kept = [one.state for one in changes if one.step < step] or [RateChange()]
    there, planned = (
        learning_rate_at(change.step, training, total, one.override, one.scaling)
        for one in (kept[-1], RateChange())
    )
    same = abs(change.before / there - 1) < 1e-3 if there > 0 else True
    peak = None if same or planned <= 0 else change.before / planned * training.learning_rate
    return BrokenRate(
        name=info.name,
        path=str(folder.path),
        status=status,
        step=change.step,
        rate=change.after,
        before=change.before,
        checkpoint=checkpoint,
        peak=None if peak is None else float(f"{peak:.3g}"),
    )


def _trouble(events: Sequence[Event], status: str) -> int | None:
    """The step at which the run was seen to go wrong, of those that stand; None where it ended
    well."""
    steps = [advice.step for advice in read_events(events).open if advice.kind in SPOILT]
    if status == "failed":
        skipped: list[int] = []
        for event in events:
            if event.kind in ("resumed", "rollback"):
                skipped = [step for step in skipped if step <= event.step]
            elif event.detail.get("nonfinite") or _is_end(event):
                skipped.append(event.step)
        steps += skipped[-1:]
    return max(steps, default=None)


def _is_end(event: Event) -> bool:
    """Whether the engine stopped over a number that is not finite."""
    return event.kind == "error" and "not finite" in event.message


def _changes(events: Sequence[Event], training: TrainingSettings, total: int) -> list[_Change]:
    """What changed the rate on the way that stands, oldest first."""
    found: list[_Change] = []
    for index, event in enumerate(events):
        if event.kind == "rollback" or (event.kind == "resumed" and event.detail.get("rewound")):
            found = [change for change in found if change.step < event.step]
        if event.kind not in ("learning_rate", "rollback"):
            continue
        state = _state(event)
        if state is None:
            continue
        if event.kind == "learning_rate":  # made before what is to be done again later on
            found = [change for change in found if change.step <= event.step]
        former = found[-1].state if found else RateChange()
        before, after = (
            learning_rate_at(event.step, training, total, one.override, one.scaling)
            for one in (former, state)
        )
        by_person = event.kind == "learning_rate" and event.detail.get("by") != "auto"
        found.append(_Change(index, event.step, by_person, state, before, after))
    return found


def _state(event: Event) -> RateChange | None:
    """How the rate departs from the schedule after an event."""
    detail: dict[str, Any] = event.detail
    with contextlib.suppress(msgspec.ValidationError, TypeError, ValueError):
        if "change" in detail:
            return msgspec.convert(detail["change"], RateChange)
        if "learning_rate" in detail and event.kind == "learning_rate":
            return RateChange(override=(event.step, float(detail["learning_rate"])))
    return None


def _checkpoint(folder: RunFolder, events: Sequence[Event], change: _Change) -> tuple[int, str]:
    """Step and name of the newest whole checkpoint that was saved before the change, else of the
    start. One of the very step counts only where it was not saved again after the change."""
    saved = [
        index
        for index, event in enumerate(events)
        if event.kind == "checkpoint" and event.step == change.step
    ]
    last = change.step if saved and max(saved) < change.index else change.step - 1
    found = checkpoints.newest_up_to(folder, last)
    if found is None:
        return 0, checkpoints.START
    return next(step for step, path in checkpoints.list_checkpoints(folder) if path == found), (
        found.name
    )
