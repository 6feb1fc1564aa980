"""Starting an engine as a separate process, which outlives the process that starts it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import subprocess
import time
from collections.abc import Sequence

import msgspec

from tui_trainer.contracts.errors import UserError, reason_of
from tui_trainer.contracts.runs.run import ACTIVE_STATES, RunState
from tui_trainer.store import atomic, child_process, file_lock
from tui_trainer.store.runs import checkpoints, process_identity, refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

NEEDED = ("torch", "transformers", "peft")
REPAIR = 'pip install "tui-trainer[train]"'


def check_installed() -> None:
    """Raise `UserError` if a package that training needs is missing. Imports none of them."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"training needs {', '.join(missing)}; install with: {REPAIR}", 1)


def check_startable(folder: RunFolder, from_checkpoint: str | None = None) -> None:
    """Raise `UserError` if the run is being trained, has no steps left, or is another program's.

    A completed run can only be resumed from a named checkpoint, which must be complete.
    """
    status = folder.status()
    name = folder.path.name
    loop = folder.loop_info()
    if loop is not None:
        raise UserError(
            f"run {name} belongs to another program ({loop.program}); resume it with that program",
            1,
        )
    if status in ACTIVE_STATES:
        raise UserError(
            f"run {name} is already {status}; watch it with: tui-trainer monitor "
            f"{shlex.quote(str(folder.path.parent))}",
            1,
        )
    if from_checkpoint is not None:
        checkpoints.find_checkpoint(folder, from_checkpoint)
    elif status == "completed":
        raise UserError(
            f"run {name} is completed and has no steps left; to resume it from an earlier "
            "checkpoint, give --from CHECKPOINT",
            1,
        )


def start_engine(
    folder: RunFolder,
    from_checkpoint: str | None = None,
    rate: float | None = None,
    *,
    background: bool = False,
    command: Sequence[str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start the engine on a run folder and return at once.

    The process has its own session and prints to `engine.log`. `rate` is the peak learning rate
    from now on; None keeps the job's. In the `background` it has lower priority, and leaves a CPU
    to others. `command` replaces the engine's command line; the folder's path is appended to it.
    Raises `UserError`.
    """
    if command is None:
        check_installed()
    arguments = [*(command or engine_command()), str(folder.path.absolute())]
    if from_checkpoint is not None:
        arguments += ["--from", from_checkpoint]
    if rate is not None:
        arguments += ["--learning-rate", repr(rate)]
    if background:
        arguments.append("--background")
    try:
        log = os.open(folder.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, atomic.PRIVATE)
    except OSError as error:
        raise UserError(f"{folder.log_file} cannot be written: {reason_of(error)}", 1) from None
    before: RunState | None = None
    try:
        with file_lock.try_lock(folder.lock_file) as got:
            # Under the lock, so that the state of a run in training is never overwritten.
            if not got:
                name = folder.path.name
                raise UserError(f"run {name} is being trained by another process", 1)
            check_startable(folder, from_checkpoint)
            before = folder.state()
            _announce(folder, before)
        return child_process.start(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    except OSError as error:
        message = f"the engine cannot be started: {reason_of(error)}"
        waiting = folder.state()
        if before is not None and waiting is not None and waiting.state == "idle":
            refused_resume.end_untrained(folder, waiting, message)
        raise UserError(message, 1) from None
    finally:
        os.close(log)


def kill_engine(process: subprocess.Popen[bytes]) -> None:
    """Kill an engine at once, with the training processes that it started."""
    import psutil  # not needed, and so not imported, by the monitor

    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()


def engine_command() -> list[str]:
    """The engine's command line without the run folder."""
    return child_process.module_command("tui_trainer.engine")


def _announce(folder: RunFolder, before: RunState | None) -> None:
    """Write the state `idle`, so that a resumed run is not shown as crashed until the engine has
    loaded torch and writes its own state."""
    waiting = msgspec.structs.replace(
        process_identity.without_process(before or RunState(state="idle")),
        state="idle",
        eta_seconds=None,
        tokens_per_second=None,
        updated_at=time.time(),
        message="waiting for the engine",
        before=refused_resume.as_found(before),
    )
    run_folder.write_state(folder, waiting)


def log_size(folder: RunFolder) -> int:
    """Size of `engine.log` in bytes; 0 if there is none."""
    try:
        return folder.log_file.stat().st_size
    except OSError:
        return 0
