"""Training beside a chat: lower priority, and a CPU left to the answers."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NICENESS = 10
# At most so many CPUs are all used: with lower priority, answers get their time there too.
_MOST_SHARED = 2
# In the environment, so that the processes that this one launches do the same.
_VARIABLE = "TUI_TRAINER_ENGINE_IN_BACKGROUND"
# Linux may weigh whole sessions against each other, so that a process's own niceness counts only
# within its session, and every engine has one of its own: man 7 sched, "The autogroup feature".
_AUTOGROUP = Path("/proc/self/autogroup")


def enter() -> None:
    """Lower the priority of this process and of all that it starts; those call it too, which does
    not lower it further."""
    if _VARIABLE not in os.environ and hasattr(os, "nice"):
        os.nice(NICENESS)
    os.environ[_VARIABLE] = "1"
    with contextlib.suppress(OSError):  # absent, or not this process's to change
        _AUTOGROUP.write_text(str(NICENESS))


def cpus_of(usable: int) -> int:
    """How many of the usable CPUs this process takes."""
    return usable - 1 if _VARIABLE in os.environ and usable > _MOST_SHARED else usable
