"""Starts the processes of a run on this machine through torch's own launcher, and supervises them.

As `torchrun --standalone`, with three additions: signals are passed to the leader, which saves
before it ends; the leader's exit status becomes that of this process; and a run whose leader was
killed ends as `failed` with a reason.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import psutil
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tui_trainer.contracts.runs.run import ENDED_STATES, Event, RunState
from tui_trainer.store import atomic, child_process
from tui_trainer.store.runs import refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def launch(folder: RunFolder, count: int, options: list[str]) -> int:
    """Run the engine in `count` processes and return the leader's exit status.

    `options` are the engine's own, after the folder.
    """
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK)
    # The engine sets its threads itself; torchrun's own messages about them are misleading.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _forward_signal)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    found = refused_resume.as_found(folder.state())
    with tempfile.TemporaryDirectory(prefix="tui-trainer-") as temporary:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id="tui-trainer",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            signals_to_handle="SIGQUIT",
            logs_specs=DefaultLogsSpecs(log_dir=str(Path(temporary) / "logs")),
        )
        python, *command = child_process.module_command(
            "tui_trainer.engine",
            str(folder.path),
            *options,
            safe_path=sys.flags.safe_path,  # as this process was started
        )
        try:
            elastic_launch(config, python)(*command)
        except ChildFailedError as error:
            return _exit_status(folder, error.failures, count, found)
    return 0


def _forward_signal(number: int, frame: FrameType | None) -> None:
    for child in psutil.Process().children():
        child.send_signal(number)


def _exit_status(
    folder: RunFolder, failures: Mapping[int, Any], count: int, found: RunState | None
) -> int:
    """Return the leader's exit status; where it was killed, end the run as `failed`."""
    leader = failures.get(0)
    if leader is not None and leader.exitcode > 0:
        return int(leader.exitcode)
    state = folder.state()
    if state is None or (state.state in ENDED_STATES and state != found):
        return 1
    rank = min(failures, key=lambda rank: failures[rank].timestamp)
    message = (
        f"training process {rank} of {count} {_how_it_ended(failures[rank].exitcode)} at step "
        f"{formats.count(state.step)}; resume the run to continue from the last checkpoint"
    )
    print(message, file=sys.stderr)  # noqa: T201
    if state.before is not None:
        refused_resume.end_untrained(folder, state, message)
        return 1
    now = time.time()
    with atomic.appending(folder.events_file) as events:
        events.append(Event(time=now, step=state.step, kind="error", message=message))
    ended = msgspec.structs.replace(
        state, state="failed", message=message, eta_seconds=None, updated_at=now
    )
    run_folder.write_state(folder, ended)
    return 1


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    hint = " (out of memory?)" if -status == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-status).name}{hint}"
