"""Disk space for checkpoints: older ones are deleted where a new one would not fit, none is started
that cannot fit, and a warning is logged ahead of one that will not fit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path

import torch

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.engine.state.session import Session
from tui_trainer.hardware import sampler
from tui_trainer.hardware.limit_alarms import LimitAlarm
from tui_trainer.store import atomic
from tui_trainer.store.runs import checkpoints
from tui_trainer.text.formats import byte_rate, size

# Bytes that a checkpoint or an adapter takes beside its tensors.
_BESIDE = 1 << 20
# Seconds of free space that the forecast needs at least and uses at most.
_SHORTEST, _LONGEST = 20.0, 120.0
_AHEAD = "checkpoint_ahead"
_CLOSES = 1.25  # times what is needed: enough to close the alarm


class NoRoomError(UserError):
    """A requested checkpoint does not fit on the disk."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_status=1)


def refusal(session: Session, spared: Collection[int] = ()) -> str | None:
    """Why no checkpoint can be written now; None where there is room or free space is unknown.

    Deletes checkpoints first where that makes room, but none of the steps `spared`."""
    need, left = bytes_needed(session), _left_free(session)
    seen = _free(session)

    def fits() -> bool:
        nonlocal seen
        seen = _free(session)
        return seen is None or seen >= need + left

    if seen is None or seen >= need + left or (make(session, fits, spared) and fits()):
        return None
    return (
        f"the disk has {size(seen)} free at {session.folder.path}, and a checkpoint needs "
        f"{size(need)} plus {size(left)} for adapter and records; free some space"
    )


def make(session: Session, enough: Callable[[], bool], spared: Collection[int] = ()) -> bool:
    """Delete the least useful checkpoints one by one until `enough` is true, and log which; True
    where any was deleted. Those in `superseded` go first, then the oldest. The newest complete
    one, the best one, and those of the steps `spared` stay."""
    going = session.going_back.checkpoint if session.going_back is not None else None
    removed = []
    for path in checkpoints.expendable(session.folder, spared):
        if path == going:
            continue
        checkpoints.discard(path)
        removed.append(str(path.relative_to(session.folder.checkpoints_dir)))
        if enough():
            break
    if removed:
        session.report.event(
            "warning",
            session.state.step,
            f"the disk is nearly full: deleted to make room: {', '.join(removed)}",
            detail={"removed": removed},
        )
    return bool(removed)


def no_room_for_adapter(session: Session) -> NoRoomError:
    """Error for an adapter that cannot be written after all was done to make room."""
    here, need = free(session), adapter_bytes(session)
    newest = checkpoints.find_checkpoint(session.folder, None)
    kept = f"; {newest.name} is kept" if newest is not None else ""
    return NoRoomError(
        f"the disk is full: the adapter needs {size(need)} and {session.folder.path} has "
        f"{size(here)} free{kept}; free {size(max(need - here, _BESIDE))}, "
        f"then tui-trainer resume {session.folder.path.name}"
    )


def full(path: Path, error: OSError, name: str) -> str:
    """Message for any other file of the run `name` that could not be written."""
    where = error.filename or path
    here = sampler.none_on_error(lambda: sampler.disk_free(path)) or 0
    return (
        f"the disk is full: {where} cannot be written ({error.strerror}), {path} has "
        f"{size(here)} free; free some space, then tui-trainer resume {name}"
    )


def free(session: Session) -> int:
    """Free bytes at the run folder; 0 where unknown."""
    return _free(session) or 0


def _free(session: Session) -> int | None:
    return sampler.none_on_error(lambda: sampler.disk_free(session.folder.path))


def _left_free(session: Session) -> int:
    """Bytes that must stay free after a checkpoint, for the adapter and the records."""
    return adapter_bytes(session)


def adapter_bytes(session: Session) -> int:
    """Bytes that the adapter takes in its folder, at most."""
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
    """Log once that checkpoints are not written (`reason`), and once that they are again (None)."""
    if (reason is not None) == session.without_room:
        return
    session.without_room = reason is not None
    message = f"no checkpoint at step {session.state.step}: {reason}; training continues"
    session.report.event(
        "warning",
        session.state.step,
        message if reason is not None else "there is room for checkpoints again",
        detail={"alarm": "checkpoint_room", "open": reason is not None},
    )


def is_full(error: BaseException) -> bool:
    """Whether an exception means that the disk or the user's quota is full."""
    if atomic.is_full(error):
        return True
    # safetensors wraps the system's error.
    names = ("StorageFull", "QuotaExceeded", "FileTooLarge", "No space left")
    return type(error).__name__ == "SafetensorError" and any(name in str(error) for name in names)


class SpaceForecast:
    """Forecasts from the disk's rate of filling whether the next checkpoint will fit. Used by one
    thread beside the one that trains."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: deque[tuple[float, int, int]] = deque()  # time, bytes free, step
        self._open = False

    def look(self, sample: HardwareSample) -> LimitAlarm | None:
        """Alarm that opens or closes with this sample; None without a change or a forecast."""
        target, left = self._next()
        need = sampler.none_on_error(
            lambda: bytes_needed(self._session) + _left_free(self._session)
        )
        if sample.disk_free is None or need is None:
            return None
        self._seen.append((sample.time, sample.disk_free, self._session.state.step))
        while sample.time - self._seen[0][0] > _LONGEST:
            self._seen.popleft()
        loses, seconds = self._trend(left)
        then = sample.disk_free - loses * seconds
        if not self._open and then < need:
            self._open = True
            return LimitAlarm(_AHEAD, True, self._message(sample.disk_free, loses, need, target))
        if self._open and then > _CLOSES * need:
            self._open = False
            return LimitAlarm(_AHEAD, False, "the disk has room for the next checkpoint again")
        return None

    def _next(self) -> tuple[int, int]:
        """The step of the next checkpoint, and the steps until then."""
        every = self._session.job.training.checkpoint_every
        step, end = self._session.state.step, self._session.plan.total_steps
        target = min(end, (step // every + 1) * every) if every > 0 else end
        return target, max(0, target - step)

    def _trend(self, steps: int) -> tuple[float, float]:
        """Free bytes lost per second, and seconds that `steps` steps take; 0 where unknown."""
        (began, free, first), (ended, left, last) = self._seen[0], self._seen[-1]
        passed = ended - began
        if passed < _SHORTEST or last <= first:
            return 0.0, 0.0
        return max(0.0, (free - left) / passed), steps * passed / (last - first)

    def _message(self, free: int, loses: float, need: int, target: int) -> str:
        fills = f" and fills at {byte_rate(loses)}" if loses > 0 else ""
        return (
            f"the disk will be too full for the checkpoint at step {target}: "
            f"{self._session.folder.path} has {size(free)} free{fills}, and "
            f"{size(need)} are needed; free some space, or training continues without it"
        )
