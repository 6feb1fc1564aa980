"""Whether the disk has room for a checkpoint: one that would not fit is not begun."""

from __future__ import annotations

import errno

import torch

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.session import Session
from tui_trainer.machine import sampler

# What a checkpoint takes beside its tensors, and what is left to the records of the run.
_BESIDE = 1 << 20
_RESERVE = 16 << 20


class NoRoomError(UserError):
    """A checkpoint that was asked for does not fit on the disk."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_status=1)


def refusal(session: Session) -> str | None:
    """Why no checkpoint can be written now; None where there is room, or nobody can tell."""
    free = sampler.quiet(lambda: sampler.disk_free(session.folder.path))
    need = bytes_needed(session)
    if free is None or free >= need + _RESERVE:
        return None
    return (
        f"the disk has {free / 1e6:.0f} MB free at {session.folder.path} and a checkpoint needs "
        f"{need / 1e6:.0f} MB beside {_RESERVE / 1e6:.0f} MB for the records; free some"
    )


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
