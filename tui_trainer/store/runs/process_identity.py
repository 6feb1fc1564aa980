"""Identity of the process that a run belongs to, distinct from later ones with the same pid.

On Linux a process is identified by its boot and by its start in clock ticks after that boot, which
do not change when the clock is set. On other systems, and for older folders, its start by the wall
clock is used (psutil).
"""

from __future__ import annotations

import contextlib
import os
import socket
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from tui_trainer.contracts.runs.run import RunState

_PROC = Path("/proc")
# Fields of /proc/PID/stat after the command's name: the state, and the start in clock ticks.
_STATE, _START_TICKS = 0, 19
_GONE = ("Z", "X", "x")
# The start by the wall clock is computed from the boot time, which is rounded.
_TOLERANCE_SECONDS = 2.0


class _Stat(NamedTuple):
    """Fields of `/proc/PID/stat`."""

    state: str  # such as "R", or "Z" for a zombie
    start_ticks: int  # start of the process, clock ticks since the boot


def own_identity() -> dict[str, int | float | str | None]:
    """The fields of a `RunState` that identify this process, except `host`."""
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
    """Whether the state's pid is valid for this process: of this host, and not of another
    container, which may have the same host name but its own pids."""
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
        return False  # the system was rebooted since
    found = _stat(pid)
    if found is None:
        return _is_hidden(pid)
    return found.start_ticks == state.start_ticks and found.state not in _GONE


def process_alive(pid: int | None, started: float | None) -> bool:
    """Whether `pid` runs and started at `started` (seconds since the epoch).

    For systems without start ticks; wrong if the clock was set since.
    """
    if pid is None:
        return False
    import psutil  # not needed, and so not imported, for a monitor's first frame

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
    """When a process started by the present wall clock, seconds since the epoch; None if it is
    gone."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return None


@cache
def boot_id() -> str | None:
    """Id of the system's present boot; None if the system has none."""
    with contextlib.suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip() or None
    return None


def pid_namespace() -> str | None:
    """Id of this process's pid namespace; None if unknown."""
    with contextlib.suppress(OSError):
        return str((_PROC / "self/ns/pid").readlink())
    return None


def without_process(state: RunState) -> RunState:
    """The state without the fields that identify a process."""
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
    """The content of `/proc/PID/stat`; None if there is no such process or file."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        fields = text.rpartition(")")[2].split()  # the command may contain spaces and brackets
        return _Stat(fields[_STATE], int(fields[_START_TICKS]))
    except (OSError, ValueError, IndexError):
        return None


def _is_hidden(pid: int) -> bool:
    """Whether a process exists that /proc does not show, as for other users with `hidepid`."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False
