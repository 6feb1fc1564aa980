"""The processes that train one run together; where there is one, this is nothing.

Process 0 leads: it alone reads commands, decides and writes the run folder, in the same code as a
run of one process. The others follow its orders (`follower`), so that nothing has to be decided
twice. What goes over the wire is torch.distributed's (`many`).
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from tui_trainer.contracts.job import TrainingSettings
    from tui_trainer.engine.data.encoding import Example
    from tui_trainer.engine.state.session import Session

# What torchrun and `accelerate launch` tell each process; a process without it trains alone.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class ProcessRank:
    """Which of how many processes this is, in all and on this machine, counted from 0."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1


def place() -> ProcessRank:
    """As the environment says."""
    found = [os.environ.get(name, "") for name in VARIABLES]
    if not all(value.isdigit() for value in found[:4]) or not all(found[4:]):
        return ProcessRank()
    return ProcessRank(*(int(value) for value in found[:4]))


class Ranks:
    """One process: what it has is all there is, and nobody is told anything."""

    def __init__(self, at: ProcessRank | None = None) -> None:
        self.place = at or ProcessRank()

    def order(self, name: str, **what: Any) -> None:
        """Tells the followers what comes next; each does its part of it."""

    def loads_on(self, device: torch.device, settings: TrainingSettings) -> torch.device:
        """Where the base is loaded to before `shard`."""
        return device

    def shard(self, base: Any, device: torch.device, settings: TrainingSettings) -> None:
        """Leaves this process its share of the base on `device`, where the job wants that."""

    def begin(self, session: Session) -> None:
        """All begin alike: sees that the followers hold the same, and gives them the weights."""

    def own(self, passes: list[list[Example]]) -> list[list[Example]]:
        """This process's part of a step's passes."""
        return passes

    def together(self, loss: torch.Tensor) -> torch.Tensor:
        """Adds up the step's loss and gradients over the processes.

        Raises `MemoryError` where one of the others ran out of memory.
        """
        return loss

    def lacks_memory(self, largest: int) -> int:
        """This process ran out of memory in passes of at most `largest` examples, or was told
        that another has; gives the most examples of any process's pass."""
        return largest

    def add(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sum over the processes; shape and type stay."""
        return numbers

    def random_states(self, own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The random states of all, those of follower 1 named `cpu.1` and so on."""
        return own

    def load(
        self,
        trainer: bytes,
        weights: dict[str, torch.Tensor],
        optimizer: dict[str, torch.Tensor],
        random: dict[str, torch.Tensor],
    ) -> None:
        """The followers go on from the checkpoint of which these are the files' contents."""

    def end(self) -> None:
        """The followers may go."""


def deal(examples: Sequence[Example], size: int) -> list[list[Example]]:
    """Shares out examples that come longest first: each to whoever has the fewest tokens so far
    (Graham 1969), so that the processes of a step end at about the same time."""
    shares: list[list[Example]] = [[] for _ in range(size)]
    heap = [(0, rank) for rank in range(size)]
    for example in examples:
        tokens, rank = heapq.heappop(heap)
        shares[rank].append(example)
        heapq.heappush(heap, (tokens + len(example.input_ids), rank))
    return shares
