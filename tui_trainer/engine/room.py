"""Whether the disk has room for a checkpoint: one that would not fit is not begun, and one that
will not fit when its time comes is told ahead."""

from __future__ import annotations

import errno
from collections import deque

import torch

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.engine.session import Session
from tui_trainer.machine import sampler
from tui_trainer.machine.alarms import Alarm

# What a checkpoint takes beside its tensors, and what is left to the records of the run.
_BESIDE = 1 << 20
_RESERVE = 16 << 20
# The disk's filling is followed over so many seconds, and taken for a trend after the first.
_SHORTEST, _LONGEST = 20.0, 120.0
_AHEAD = "checkpoint_ahead"
_CLOSES = 1.25  # times what is needed: enough to close the alarm


class NoRoomError(UserError):
    """A checkpoint that was asked for does not fit on the disk."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_status=1)


def refusal(session: Session) -> str | None:
    """Why no checkpoint can be written now; None where there is room, or nobody can tell."""
    free = sampler.quiet(lambda: sampler.disk_free(session.folder.path))
    need, reserve = bytes_needed(session), _reserve(session, session.state.step)
    if free is None or free >= need + reserve:
        return None
    return (
        f"the disk has {free / 1e6:.0f} MB free at {session.folder.path} and a checkpoint needs "
        f"{need / 1e6:.0f} MB beside {reserve / 1e6:.0f} MB for the records; free some"
    )


def _reserve(session: Session, step: int) -> int:
    """Bytes left to what is written after the checkpoint of a step: after the last one little
    but the adapter."""
    if step < session.plan.total_steps:
        return _RESERVE
    return sum(p.numel() * p.element_size() for p in session.parameters.values()) + _BESIDE


def bytes_needed(session: Session) -> int:
    """Bytes of the adapter's and the optimizer's tensors, and what else lies in a checkpoint.
    The checkpoints that the new one replaces are removed only after it is whole."""
    adapter = sum(p.numel() * p.element_size() for p in session.parameters.values())
    states = (
        value.numel() * value.element_size()
        for state in session.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    # Before the first step an optimizer has no state yet: two moments are what most keep.
    return adapter + (sum(states) or 2 * adapter) + _BESIDE


def note(session: Session, reason: str | None) -> None:
    """Says once that checkpoints are not written, and once that they are again."""
    if (reason is not None) == session.without_room:
        return
    session.without_room = reason is not None
    words = f"no checkpoint at step {session.state.step}: {reason}; training goes on without"
    session.report.event(
        "warning",
        session.state.step,
        words if reason is not None else "there is room for checkpoints again",
        detail={"alarm": "checkpoint_room", "open": reason is not None},
    )


def is_full(error: BaseException) -> bool:
    """Whether an exception says that the disk is full, or the user's share of it."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # How safetensors passes it on.
    return type(error).__name__ == "SafetensorError" and "StorageFull" in str(error)


class Outlook:
    """Looks ahead: whether the disk, filling as it does, will hold the next checkpoint. For one
    thread, beside the one that trains."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: deque[tuple[float, int, int]] = deque()  # time, bytes free, step
        self._open = False

    def look(self, sample: HardwareSample) -> Alarm | None:
        """An alarm that opens or ends with this sample; None for no change, or where it cannot
        be told."""
        target, left = self._next()
        need = sampler.quiet(lambda: bytes_needed(self._session) + _reserve(self._session, target))
        if sample.disk_free is None or need is None:
            return None
        self._seen.append((sample.time, sample.disk_free, self._session.state.step))
        while sample.time - self._seen[0][0] > _LONGEST:
            self._seen.popleft()
        loses, seconds = self._trend(left)
        then = sample.disk_free - loses * seconds
        if not self._open and then < need:
            self._open = True
            return Alarm(_AHEAD, True, self._words(sample.disk_free, loses, need, target))
        if self._open and then > _CLOSES * need:
            self._open = False
            return Alarm(_AHEAD, False, "the disk has room for the next checkpoint again")
        return None

    def _next(self) -> tuple[int, int]:
        """The step of the next checkpoint, and the steps until then."""
        every = self._session.job.training.checkpoint_every
        step, end = self._session.state.step, self._session.plan.total_steps
        target = min(end, (step // every + 1) * every) if every > 0 else end
        return target, max(0, target - step)

    def _trend(self, steps: int) -> tuple[float, float]:
        """Bytes that the disk loses a second, and the seconds that so many steps take; zero
        for what is not known."""
        (began, free, first), (ended, left, last) = self._seen[0], self._seen[-1]
        passed = ended - began
        if passed < _SHORTEST or last <= first:
            return 0.0, 0.0
        return max(0.0, (free - left) / passed), steps * passed / (last - first)

    def _words(self, free: int, loses: float, need: int, target: int) -> str:
        fills = f" and loses {60 * loses / 1e6:.0f} MB a minute" if loses > 0 else ""
        return (
            f"the disk will be too full for the checkpoint at step {target}: "
            f"{self._session.folder.path} has {free / 1e6:.0f} MB free{fills}, and "
            f"{need / 1e6:.0f} MB are needed; free some, or it is left out and training goes on"
        )
