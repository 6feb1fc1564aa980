"""This process's rank, as torchrun and `accelerate launch` set it in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

# A process that lacks one of these trains alone.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class ProcessRank:
    """The rank of this process among those that train one run. Ranks count from 0."""

    rank: int = 0  # among all processes
    size: int = 1  # number of all processes
    local_rank: int = 0  # among the processes of this machine
    local_size: int = 1  # number of processes on this machine


def process_rank() -> ProcessRank:
    """Read this process's rank from the environment; rank 0 of 1 where none is set."""
    found = [os.environ.get(name, "") for name in VARIABLES]
    if not all(value.isdigit() for value in found[:4]) or not all(found[4:]):
        return ProcessRank()
    return ProcessRank(*(int(value) for value in found[:4]))
