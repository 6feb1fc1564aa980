"""The processes that train one run together; the methods do nothing where there is only one.

Process 0 leads: it alone reads commands, makes decisions and writes the run folder, in the same
code as a run of one process. The others execute what it broadcasts (`follower`), so that nothing
has to be decided twice. Communication uses torch.distributed (`process_group`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.distributed.dist_env import ProcessRank

if TYPE_CHECKING:  # torch takes seconds to import
    import torch
    from torch import nn


@dataclass(frozen=True)
class Replica:
    """What one process has loaded before its first step; it must be the same in all."""

    model: nn.Module
    parameters: dict[str, nn.Parameter]  # the trained ones, by name
    data_fingerprint: str  # SHA-256 over all examples, in hexadecimal digits
    seed: int  # the job's
    step: int  # finished optimizer steps


class Ranks:
    """A run of one process: every method returns its argument or does nothing."""

    def __init__(self, process: ProcessRank | None = None) -> None:
        self.process = process or ProcessRank()

    def broadcast(self, name: str, **arguments: Any) -> None:
        """Start the follower method `name` with `arguments` in all other processes."""

    def loading_device(self, device: torch.device, settings: TrainingSettings) -> torch.device:
        """Device that the base is loaded to before `shard`."""
        return device

    def shard(self, base: Any, device: torch.device, settings: TrainingSettings) -> None:
        """Keep only this process's share of the base on `device`, where the job asks for it."""

    def start(self, replica: Replica) -> None:
        """Check that the followers loaded the same, and copy the leader's weights to them.

        Raises `UserError` where they differ.
        """

    def own_passes(self, passes: list[Sequence[Example]]) -> list[Sequence[Example]]:
        """This process's part of the forward passes of a step."""
        return passes

    def all_reduce(self, sums: torch.Tensor) -> torch.Tensor:
        """Sum the step's loss and accuracy (2,) and its gradients over the processes.

        Raises `MemoryError` where another process ran out of memory.
        """
        return sums

    def agree_on_pass_size(self, largest: int) -> int:
        """Examples of the largest pass of any process, after a process ran out of memory.

        `largest` is the number of examples of this process's largest pass.
        """
        return largest

    def stops_early(self, wanted: bool, *, look: bool) -> bool:
        """Return whether this process makes no more passes of an evaluation; asked after each.

        `wanted` is whether the evaluation is to be cancelled, which the leader decides; `look` is
        whether it is time to ask the leader.
        """
        return wanted

    def agree_on_stop(self, stopped: bool) -> bool:
        """Return whether a process stopped before its last pass of an evaluation.

        Raises `MemoryError` where another process ran out of memory.
        """
        return stopped

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum `values` over the processes, element by element; shape and dtype stay."""
        return values

    def random_states(self, own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Random states of all processes; those of follower 1 are named `cpu.1` and so on."""
        return own

    def load(
        self,
        trainer: bytes,
        weights: dict[str, torch.Tensor],
        optimizer: dict[str, torch.Tensor],
        random: dict[str, torch.Tensor],
    ) -> None:
        """Make the followers resume from the checkpoint whose files' contents these are."""

    def end(self) -> None:
        """End the followers."""


def share_examples(examples: Sequence[Example], size: int) -> list[list[Example]]:
    """Divide examples, the longest first, among `size` processes: each goes to the process with
    the fewest tokens so far (Graham 1969), so that all finish a step at about the same time."""
    shares: list[list[Example]] = [[] for _ in range(size)]
    heap = [(0, rank) for rank in range(size)]
    for example in examples:
        tokens, rank = heapq.heappop(heap)
        shares[rank].append(example)
        heapq.heappush(heap, (tokens + len(example.input_ids), rank))
    return shares
