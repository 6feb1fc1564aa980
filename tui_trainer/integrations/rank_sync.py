"""Several processes of one training that must obey the same commands at the same step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tui_trainer.contracts.run import CommandName

# How often several processes talk about commands, and at most so many steps apart.
ROUND_SECONDS = 0.3
MOST_STEPS = 500
_NEVER = 1 << 60


@dataclass(frozen=True)
class RankCommands:
    """What every process does now: commands with their learning rates, and whether to wait."""

    commands: tuple[tuple[CommandName, float | None], ...] = ()
    paused: bool = False
    steps_until_next: int = 1


class RankSync:
    """Shares the main process's orders with all, where torch.distributed is initialised.

    Every process must ask at the same steps. One process alone asks at every step; several ask
    as seldom as the main one says, for each asking costs them a synchronisation.
    """

    def __init__(self) -> None:
        self._next_step = 0
        self._asked: tuple[int, float] | None = None

    def due(self, step: int) -> bool:
        """Whether the processes talk at this step."""
        return step >= self._next_step

    def share(self, step: int, orders: RankCommands, *, active: bool) -> RankCommands:
        """The main process's orders, in every process. `active` is whether it has any to give
        now or later; where it has none, nobody asks again."""
        distributed = _distributed()
        if distributed is None:
            return orders
        told: list[Any] = [
            orders.commands,
            orders.paused,
            self._spacing(step) if active else _NEVER,
        ]
        distributed.broadcast_object_list(told, src=0)
        commands, paused, spacing = told
        self._next_step = step + int(spacing)
        return RankCommands(tuple(commands), bool(paused), int(spacing))

    def rest(self) -> float:
        """Seconds between two looks of a paused run."""
        return 0.05 if _distributed() is None else ROUND_SECONDS

    def _spacing(self, step: int) -> int:
        now, before = time.monotonic(), self._asked
        self._asked = (step, now)
        if before is None or step <= before[0]:
            return 1
        seconds = (now - before[1]) / (step - before[0])
        return min(MOST_STEPS, max(1, int(ROUND_SECONDS / max(seconds, 1e-6))))


def _distributed() -> Any:
    """`torch.distributed` where several processes are joined, else None."""
    try:
        import torch.distributed as distributed
    except ImportError:
        return None
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed if distributed.get_world_size() > 1 else None
