"""Disk space for checkpoints: older ones are deleted where a new one would not fit, none is started
that cannot fit, and a warning is logged before one that will not fit."""

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
from tui_trainer.text.formats import byte_rate, count, size

_OVERHEAD_BYTES = 1 << 20  # of a checkpoint or an adapter beyond its tensors
_TOKEN_BYTES = 160  # of the tokenizer's files for each token: 75 to 133 in those of known models
# Seconds of samples that the forecast needs at least and uses at most.
_SHORTEST, _LONGEST = 20.0, 120.0
_ALARM = "checkpoint_ahead"
_CLOSES = 1.25  # times the bytes needed, at which the alarm closes


class NoRoomError(UserError):
    """A requested checkpoint does not fit on the disk."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_status=1)


def refusal(session: Session, spared: Collection[int] = ()) -> str | None:
    """Return why no checkpoint can be written now; None where there is room or it is unknown.

    Deletes checkpoints first where that makes room, but not those of the steps `spared`.
    """
    need, reserve = bytes_needed(session), adapter_bytes(session)
    available: int | None = None

    def fits() -> bool:
        nonlocal available
        available = _free(session)
        return available is None or available >= need + reserve

    if fits() or (make_room(session, fits, spared) and fits()):
        return None
    return (
        f"the disk has {size(available)} free at {session.folder.path}, and a checkpoint needs "
        f"{size(need)} plus {size(reserve)} for adapter and records; free some space"
    )


def make_room(session: Session, enough: Callable[[], bool], spared: Collection[int] = ()) -> bool:
    """Delete the least useful checkpoints one by one until `enough` is true, and log which; return
    whether any was deleted. Those in `superseded` go first, then the oldest. The newest complete
    one, the best one, and those of the steps `spared` are kept."""
    needed = session.pending_rollback.checkpoint if session.pending_rollback is not None else None
    removed = []
    for path in checkpoints.expendable(session.folder, spared):
        if path == needed:
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
    """Return the error for an adapter that does not fit even after room was made."""
    available, need = free(session), adapter_bytes(session)
    newest = checkpoints.find_checkpoint(session.folder, None)
    kept = f"; {newest.name} is kept" if newest is not None else ""
    return NoRoomError(
        f"the disk is full: the adapter needs {size(need)} and {session.folder.path} has "
        f"{size(available)} free{kept}; free {size(max(need - available, _OVERHEAD_BYTES))}, then "
        f"tui-trainer resume {session.folder.path.name}"
    )


def full(path: Path, error: OSError, name: str) -> str:
    """Return the message for any other file of the run `name` that could not be written."""
    where = error.filename or path
    available = sampler.none_on_error(lambda: sampler.disk_free(path)) or 0
    return (
        f"the disk is full: {where} cannot be written ({error.strerror}), {path} has "
        f"{size(available)} free; free some space, then tui-trainer resume {name}"
    )


def free(session: Session) -> int:
    """Return the free bytes at the run folder; 0 where unknown."""
    return _free(session) or 0


def _free(session: Session) -> int | None:
    return sampler.none_on_error(lambda: sampler.disk_free(session.folder.path))


def adapter_bytes(session: Session) -> int:
    """Return the bytes of the adapter's folder, at most. As many must stay free after a checkpoint,
    for the adapter and the records."""
    return _parameter_bytes(session) + tokenizer_bytes(session) + _OVERHEAD_BYTES


def tokenizer_bytes(session: Session) -> int:
    """Return about how many bytes the tokenizer's files have."""
    return _TOKEN_BYTES * len(session.tokenizer)


def _parameter_bytes(session: Session) -> int:
    return sum(p.numel() * p.element_size() for p in session.parameters.values())


def bytes_needed(session: Session) -> int:
    """Return the bytes of a checkpoint. Those that it replaces are deleted only after it is
    complete."""
    adapter = _parameter_bytes(session)
    states = (
        value.numel() * value.element_size()
        for state in session.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    # Before the first step the optimizer has no state yet; most have two moments.
    return adapter + (sum(states) or 2 * adapter) + _OVERHEAD_BYTES


def log_room(session: Session, reason: str | None) -> None:
    """Log once why checkpoints are not written (`reason`), and once that they are again (None)."""
    if (reason is not None) == session.disk_is_full:
        return
    session.disk_is_full = reason is not None
    message = f"no checkpoint at step {count(session.state.step)}: {reason}; training continues"
    session.report.event(
        "warning",
        session.state.step,
        message if reason is not None else "there is room for checkpoints again",
        detail={"alarm": "checkpoint_room", "open": reason is not None},
    )


def is_full(error: BaseException) -> bool:
    """Return whether an exception means that the disk or the user's quota is full."""
    if atomic.is_full(error):
        return True
    # safetensors and tokenizers wrap the system's error, the latter in a plain `Exception`.
    names = ("StorageFull", "QuotaExceeded", "FileTooLarge", "No space left", "quota exceeded")
    wraps = type(error).__name__ == "SafetensorError" or type(error) is Exception
    return wraps and any(name in str(error) for name in names)


class SpaceForecast:
    """Forecasts from the rate at which the disk fills whether the next checkpoint will fit. Used by
    a thread other than the one that trains."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._samples: deque[tuple[float, int, int]] = deque()  # time, bytes free, step
        self._open = False  # whether the alarm is open

    def observe(self, sample: HardwareSample) -> LimitAlarm | None:
        """Return the alarm that opens or closes with this sample; None without a change or a
        forecast."""
        target, steps = self._next_checkpoint()
        session = self._session
        need = sampler.none_on_error(lambda: bytes_needed(session) + adapter_bytes(session))
        if sample.disk_free is None or need is None:
            return None
        self._samples.append((sample.time, sample.disk_free, session.state.step))
        while sample.time - self._samples[0][0] > _LONGEST:
            self._samples.popleft()
        rate, seconds = self._trend(steps)
        forecast = sample.disk_free - rate * seconds
        if not self._open and forecast < need:
            self._open = True
            return LimitAlarm(_ALARM, True, self._message(sample.disk_free, rate, need, target))
        if self._open and forecast > _CLOSES * need:
            self._open = False
            return LimitAlarm(_ALARM, False, "the disk has room for the next checkpoint again")
        return None

    def _next_checkpoint(self) -> tuple[int, int]:
        """Return the step of the next checkpoint, and the number of steps until then."""
        every = self._session.job.training.checkpoint_every
        step, end = self._session.state.step, self._session.plan.total_steps
        target = min(end, (step // every + 1) * every) if every > 0 else end
        return target, max(0, target - step)

    def _trend(self, steps: int) -> tuple[float, float]:
        """Return the free bytes lost per second, and the seconds that `steps` steps take; 0 where
        unknown."""
        (start, free_before, first), (end, free_after, last) = self._samples[0], self._samples[-1]
        passed = end - start
        if passed < _SHORTEST or last <= first:
            return 0.0, 0.0
        return max(0.0, (free_before - free_after) / passed), steps * passed / (last - first)

    def _message(self, free: int, rate: float, need: int, target: int) -> str:
        fills = f" and fills at {byte_rate(rate)}" if rate > 0 else ""
        return (
            f"the disk will be too full for the checkpoint at step {count(target)}: "
            f"{self._session.folder.path} has {size(free)} free{fills}, and "
            f"{size(need)} are needed; free some space, or training continues without it"
        )
