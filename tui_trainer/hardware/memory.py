"""Free memory of this computer."""

from __future__ import annotations

import psutil

from tui_trainer.hardware import cgroup


def free_bytes(*, with_swap: bool = False) -> int:
    """Bytes that a process may use beyond those that are in use, within a container's limit."""
    free = psutil.virtual_memory().available
    if with_swap:
        free += psutil.swap_memory().free
    limit = cgroup.memory_limit()
    return int(free if limit is None else min(free, limit.total - limit.used))
