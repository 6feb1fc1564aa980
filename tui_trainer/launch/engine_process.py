"""Starting an engine as a process of its own, which outlives whoever started it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import ACTIVE_STATES, RunState
from tui_trainer.store import atomic, file_lock
from tui_trainer.store.runs import checkpoints, process_identity, refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

NEEDED = ("torch", "transformers", "peft")
# What a launcher of several processes tells each: it was meant for this process, not for engines.
_LAUNCHED = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    "TORCHELASTIC_RUN_ID",
)
REPAIR = 'pip install "tui-trainer[train]"'


def check_installed() -> None:
    """Raises `UserError` where a package that training needs is absent; imports none."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(f"training needs {', '.join(absent)}; install with: {REPAIR}", 1)


def check_startable(folder: RunFolder, from_checkpoint: str | None = None) -> None:
    """Raises `UserError` where an engine is at work on the run, nothing is left to train, or
    another program trains it.

    A completed run can be carried on from an earlier checkpoint only. A named checkpoint must
    be there, whole.
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
            "to train on from one of its checkpoints, name it with --from",
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

    The process has a session of its own, so that neither Ctrl-C nor the end of the terminal
    reaches it, and prints to `engine.log`. `rate` is the peak of the learning rate from here
    on. `command` stands in for the engine's own command
    line; the folder's path is appended to it. Raises `UserError`.
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
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=engine_environment(),
            start_new_session=True,
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
    """Kills an engine at once, with the processes that it launched to train with."""
    import psutil  # the monitor does without

    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()


def engine_command() -> list[str]:
    """The engine's command line without the run folder.

    `-P` keeps a user's own `datasets.py` in the current folder from being imported.
    """
    return [sys.executable, "-P", "-m", "tui_trainer.engine"]


def engine_environment() -> dict[str, str]:
    """This process's environment, with what the engine needs to log at once and not to fork
    tokenizer threads, and without what would make it one of several processes."""
    own = {name: value for name, value in os.environ.items() if name not in _LAUNCHED}
    return {**own, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}


def _announce(folder: RunFolder, before: RunState | None) -> None:
    """Marks the run as waiting: until the engine has loaded torch and speaks for itself, a
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
