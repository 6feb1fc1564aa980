"""Learning rates set by a command after which a run failed or diverged.

A resume must not set such a rate again unless the user asks for it.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tui_trainer.advisor.event_history import read_events
from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.contracts.runs.run import Event
from tui_trainer.contracts.schedule import RateChange, learning_rate_at
from tui_trainer.launch.rollback_offer import DAMAGING_KINDS
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

_RESUMABLE = ("failed", "crashed", "cancelled")


@dataclass(frozen=True)
class BrokenRate:
    """A run that went wrong after its learning rate was set."""

    name: str  # of the run
    path: str  # of the run folder
    status: str  # of the run
    step: int  # finished steps when the rate was set
    rate: float  # that was set
    before: float  # rate without that command
    checkpoint: str  # newest complete one from before the command, or `START`
    peak: float | None  # of the schedule, to get `before` again; None if the checkpoint has it

    @property
    def description(self) -> str:
        """What happened, as the beginning of a sentence."""
        return (
            f"{self.name} went wrong after its learning rate was set to "
            f"{formats.rate(self.rate)} at step {formats.count(self.step)} "
            f"({formats.rate(self.before)} before)"
        )

    @property
    def continuation(self) -> str:
        """Where training resumes without that rate."""
        at_start = self.checkpoint == checkpoints.START
        origin = "from the start" if at_start else f"from {self.checkpoint}"
        peak = "" if self.peak is None else f", with a peak rate of {formats.rate(self.peak)}"
        return f"{origin}, without that rate{peak}"

    @property
    def command(self) -> str:
        """The shell command that resumes without that rate."""
        peak = "" if self.peak is None else f" --set training.learning_rate={self.peak:g}"
        return f"tui-trainer resume {shlex.quote(self.path)} --from {self.checkpoint}{peak}"


@dataclass(frozen=True)
class _Change:
    """An event that changed the learning rate."""

    index: int  # of the event
    step: int  # finished steps
    by_user: bool  # by a command, not automatically
    state: RateChange  # after the event
    before: float  # rate of the next step without the event
    after: float  # rate of the next step


def broken_rate(folder: RunFolder) -> BrokenRate | None:
    """The rate after which an ended run went wrong; None if it did not, or not after a command.

    A run went wrong if it ended on numbers that are not finite, or with open advice of
    `DAMAGING_KINDS`. Only a rate that was raised can be the cause.
    """
    info, state, status = folder.info(), folder.state(), folder.status()
    if info is None or state is None or status not in _RESUMABLE:
        return None
    events = folder.events()
    onset = _onset(events, status)
    if onset is None:
        return None
    training = info.job.training
    total = state.total_steps or training.max_steps or 1
    changes = _changes(events, training, total)
    raised = [
        change
        for change in changes
        if change.by_user and change.after > change.before * 1.001 and change.step < onset
    ]
    if not raised:
        return None
    change = raised[-1]
    step, checkpoint = _checkpoint(folder, events, change)
    # The last change that the checkpoint contains.
    kept = [earlier.state for earlier in changes if earlier.step < step] or [RateChange()]
    resumed, planned = (
        learning_rate_at(change.step, training, total, state.override, state.scaling)
        for state in (kept[-1], RateChange())
    )
    same = abs(change.before / resumed - 1) < 1e-3 if resumed > 0 else True
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


def _onset(events: Sequence[Event], status: str) -> int | None:
    """The step at which the run went wrong, after its last resume or rollback; None if it did
    not."""
    steps = [advice.step for advice in read_events(events).open if advice.kind in DAMAGING_KINDS]
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
    """Whether the engine stopped because of a number that is not finite."""
    return event.kind == "error" and "not finite" in event.message


def _changes(events: Sequence[Event], training: TrainingSettings, total: int) -> list[_Change]:
    """The changes of the rate that no rollback or resume has undone, oldest first."""
    found: list[_Change] = []
    for index, event in enumerate(events):
        if event.kind == "rollback" or (event.kind == "resumed" and event.detail.get("rewound")):
            found = [change for change in found if change.step < event.step]
        if event.kind not in ("learning_rate", "rollback"):
            continue
        state = _state(event)
        if state is None:
            continue
        if event.kind == "learning_rate":  # later changes belong to steps that are repeated
            found = [change for change in found if change.step <= event.step]
        former = found[-1].state if found else RateChange()
        before, after = (
            learning_rate_at(event.step, training, total, one.override, one.scaling)
            for one in (former, state)
        )
        by_user = event.kind == "learning_rate" and event.detail.get("by") != "auto"
        found.append(_Change(index, event.step, by_user, state, before, after))
    return found


def _state(event: Event) -> RateChange | None:
    """How the rate differs from the schedule after an event; None if the event does not say."""
    detail: dict[str, Any] = event.detail
    with contextlib.suppress(msgspec.ValidationError, TypeError, ValueError):
        if "change" in detail:
            return msgspec.convert(detail["change"], RateChange)
        if "learning_rate" in detail and event.kind == "learning_rate":
            return RateChange(override=(event.step, float(detail["learning_rate"])))
    return None


def _checkpoint(folder: RunFolder, events: Sequence[Event], change: _Change) -> tuple[int, str]:
    """Step and name of the newest complete checkpoint saved before the change, or the start.

    A checkpoint of the change's own step is used only if it was not saved again after the change.
    """
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
