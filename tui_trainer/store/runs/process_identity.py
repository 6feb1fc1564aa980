"""Which process a run belongs to, told apart from a later one with the same pid.

On Linux a process is known by the boot it started in and by its start in clock ticks after that
boot: neither changes when somebody sets the clock. Elsewhere, and in folders written before this
was recorded, its start time by the wall clock stands in (psutil).
"""

from __future__ import annotations

import contextlib
import os
import socket
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from tui_trainer.contracts.run import RunState

_PROC = Path("/proc")
# Fields of /proc/PID/stat after the command's name: the state, and the start in clock ticks.
_STATE, _START_TICKS = 0, 19
_GONE = ("Z", "X", "x")
# A wall clock start time is worked out from the boot time, which is rounded.
_TOLERANCE_SECONDS = 2.0


class _Stat(NamedTuple):
    """A process as the kernel describes it."""

    state: str
    start_ticks: int


def own_identity() -> dict[str, int | float | str | None]:
    """The fields of a `RunState` by which this process is known again, except `host`."""
    pid = os.getpid()
    found = _stat(pid)
    return {
        "pid": pid,
        "pid_created": created(pid),
        "start_ticks": None if found is None else found.start_ticks,
        "boot_id": boot_id(),
        "pid_namespace": pid_namespace(),
    }


def is_here(state: RunState) -> bool:
    """Whether the state's pid means something to this process: it is of this host, and not of
    another container, which may share the host name but counts its own processes."""
    if state.host not in (None, socket.gethostname()):
        return False
    if None in (state.boot_id, state.pid_namespace) or state.boot_id != boot_id():
        return True
    here = pid_namespace()
    return here is None or here == state.pid_namespace


def is_alive(state: RunState) -> bool:
    """Whether the process that wrote a state on this host still runs."""
    pid, boot = state.pid, boot_id()
    if pid is None:
        return False
    if state.start_ticks is None or state.boot_id is None or boot is None:
        return process_alive(pid, state.pid_created)
    if state.boot_id != boot:
        return False  # the machine was started anew since
    found = _stat(pid)
    if found is None:
        return _is_hidden(pid)
    return found.start_ticks == state.start_ticks and found.state not in _GONE


def process_alive(pid: int | None, started: float | None) -> bool:
    """Whether `pid` runs and started at `started` (seconds since the epoch); the way without
    start ticks, which a step of the clock can deceive."""
    if pid is None:
        return False
    import psutil  # a monitor's first paint does without

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return started is None or abs(process.create_time() - started) < _TOLERANCE_SECONDS
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False


def created(pid: int) -> float | None:
    """When a process started, by the wall clock as it is set now; None where it is gone."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return None


@cache
def boot_id() -> str | None:
    """What names the machine's present boot; None where the system has no such thing."""
    with contextlib.suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip() or None
    return None


def pid_namespace() -> str | None:
    """What names the set of processes that this one's pid belongs to; None where unknown."""
    with contextlib.suppress(OSError):
        return str((_PROC / "self/ns/pid").readlink())
    return None


def without_process(state: RunState) -> RunState:
    """The state of a run that no process works on."""
    return msgspec.structs.replace(
        state,
        pid=None,
        pid_created=None,
        start_ticks=None,
        boot_id=None,
        pid_namespace=None,
        host=None,
    )


def _stat(pid: int) -> _Stat | None:
    """What `/proc/PID/stat` says; None where there is no such process or no such file."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        fields = text.rpartition(")")[2].split()  # the command may hold spaces and brackets
        return _Stat(fields[_STATE], int(fields[_START_TICKS]))
    except (OSError, ValueError, IndexError):
        return None


def _is_hidden(pid: int) -> bool:
    """Whether a process is there that /proc does not show: another user's, mounted so."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False
