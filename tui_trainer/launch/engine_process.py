"""Starting an engine as a process of its own, which outlives whoever started it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import time
from collections.abc import Sequence

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import ACTIVE_STATES, RunState
from tui_trainer.store import atomic, child_process, file_lock
from tui_trainer.store.runs import checkpoints, process_identity, refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

NEEDED = ("torch", "transformers", "peft")
REPAIR = 'pip install "tui-trainer[train]"'


def check_installed() -> None:
    """Raises `UserError` where a package that training needs is absent; imports none."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(f"training needs {', '.join(absent)}; install with: {REPAIR}", 1)


def check_startable(folder: RunFolder, from_checkpoint: str | None = None) -> None:
    """Raises `UserError` where an engine trains the run, no steps remain, or another program
    trains it.

    A completed run can be resumed from an earlier checkpoint only. A named checkpoint must
    exist and be complete.
    """
    status = folder.status()
    name = folder.path.name
    loop = folder.loop_info()
    if loop is not None:
        raise UserError(
            f"run {name} was written by another program ({loop.program}); it cannot be resumed "
            "here, only by that program",
            1,
        )
    if status in ACTIVE_STATES:
        raise UserError(
            f"run {name} is {status} already; watch it: tui-trainer monitor {folder.path.parent}", 1
        )
    if from_checkpoint is not None:
        checkpoints.find_checkpoint(folder, from_checkpoint)
    elif status == "completed":
        raise UserError(
            f"run {name} is completed and has nothing left to train; "
            "to train further from one of its checkpoints, name it with --from",
            1,
        )


def start_engine(
    folder: RunFolder,
    from_checkpoint: str | None = None,
    rate: float | None = None,
    *,
    command: Sequence[str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts the engine on a run folder and returns at once.

    The process has a session of its own and prints to `engine.log`. `rate` is the peak of the
    learning rate from here on. `command` replaces the engine's own command line; the folder's
    path is appended to it. Raises `UserError`.
    """
    if command is None:
        check_installed()
    arguments = [*(command or engine_command()), str(folder.path.absolute())]
    if from_checkpoint is not None:
        arguments += ["--from", from_checkpoint]
    if rate is not None:
        arguments += ["--learning-rate", repr(rate)]
    try:
        log = os.open(folder.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, atomic.PRIVATE)
    except OSError as error:
        raise UserError(f"{folder.log_file} cannot be written: {error.strerror}", 1) from None
    before: RunState | None = None
    try:
        with file_lock.trying(folder.lock_file) as got:
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
        message = f"the engine cannot be started: {error}"
        waiting = folder.state()
        if before is not None and waiting is not None and waiting.state == "idle":
            refused_resume.end_untrained(folder, waiting, message)
        raise UserError(message, 1) from None
    finally:
        os.close(log)


def kill_engine(process: subprocess.Popen[bytes]) -> None:
    """Kills an engine at once, with the training processes that it launched."""
    import psutil  # the monitor does without

    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()


def engine_command() -> list[str]:
    """The engine's command line without the run folder."""
    return child_process.module_command("tui_trainer.engine")


def _announce(folder: RunFolder, before: RunState | None) -> None:
    """Marks the run as waiting: until the engine has loaded torch and writes its own state, a
    resumed run would still be shown as crashed."""
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
    """Bytes in `engine.log`; what comes after them was printed later."""
    try:
        return folder.log_file.stat().st_size
    except OSError:
        return 0
