"""Broadcast of commands, so that all processes of a training execute them at the same step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tui_trainer.contracts.runs.run import CommandName

# Time between two broadcasts, and the most steps between them.
BROADCAST_SECONDS = 0.3
MOST_STEPS = 500
_NEVER = 1 << 60
_PAUSED_POLL_SECONDS = 0.05  # of a single process


@dataclass(frozen=True)
class RankCommands:
    """What all processes execute after a step."""

    commands: tuple[tuple[CommandName, float | None], ...] = ()  # name, learning rate of set-lr
    paused: bool = False  # whether to wait
    steps_until_next: int = 1  # steps until the next broadcast


class RankSync:
    """Broadcasts the main process's commands to all processes of `torch.distributed`.

    Every process must call `broadcast` at the same steps. A single process does so at every step;
    several do so at intervals that the main process sets, since each broadcast synchronises them.
    """

    def __init__(self) -> None:
        self._next_step = 0
        self._last: tuple[int, float] | None = None  # step and time of the last broadcast

    def due(self, step: int) -> bool:
        """Whether the processes broadcast at this step."""
        return step >= self._next_step

    def broadcast(self, step: int, commands: RankCommands, *, active: bool) -> RankCommands:
        """The main process's commands, in every process.

        `active` is whether the main process may still get commands; if not, this is the last
        broadcast.
        """
        distributed = _distributed()
        if distributed is None:
            return commands
        sent: list[Any] = [
            commands.commands,
            commands.paused,
            self._spacing(step) if active else _NEVER,
        ]
        distributed.broadcast_object_list(sent, src=0)
        names, paused, spacing = sent
        self._next_step = step + int(spacing)
        return RankCommands(tuple(names), bool(paused), int(spacing))

    def poll_seconds(self) -> float:
        """Seconds between two reads of the commands of a paused run."""
        return _PAUSED_POLL_SECONDS if _distributed() is None else BROADCAST_SECONDS

    def _spacing(self, step: int) -> int:
        """Steps until the next broadcast, from the time per step since the last one."""
        now, before = time.monotonic(), self._last
        self._last = (step, now)
        if before is None or step <= before[0]:
            return 1
        seconds = (now - before[1]) / (step - before[0])
        return min(MOST_STEPS, max(1, int(BROADCAST_SECONDS / max(seconds, 1e-6))))


def _distributed() -> Any:
    """`torch.distributed` if several processes have joined, else None."""
    try:
        import torch.distributed as distributed
    except ImportError:
        return None
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed if distributed.get_world_size() > 1 else None
