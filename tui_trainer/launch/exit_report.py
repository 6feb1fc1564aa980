"""How an engine ended, in words."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tui_trainer.contracts.run import ACTIVE_STATES, ENDED_STATES, RunState, StateName
from tui_trainer.launch.engine_process import log_size
from tui_trainer.store import file_lock
from tui_trainer.store.regular_files import open_regular
from tui_trainer.store.runs import refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

_LOG_LINES = 12
_LOG_BYTES = 16_384
_HINTS = {
    "SIGKILL": "out of memory?",
    "SIGSEGV": "a fault in compiled code",
    "SIGBUS": "a full disk, or a fault in compiled code",
    "SIGILL": "compiled code that this processor does not know",
}


@dataclass(frozen=True)
class EngineEnd:
    """The end of one engine.

    `status` is the run's word now (`completed`, `cancelled`, `failed`, `crashed` ...);
    `exit_status` that of the process, minus the signal's number where one killed it, None
    where the process was somebody else's child; `log` the last lines it printed, filled where
    it failed or crashed. `refused` where it never trained: the run is as it was before, and
    `message` says why it was not resumed or not started.
    """

    path: Path
    status: str
    message: str
    exit_status: int | None
    log: tuple[str, ...] = ()
    refused: bool = False


@dataclass(frozen=True)
class StartedProcess:
    """What was known before an engine started: the state in which it finds the run, None for one
    that never trained, and the sizes of log and events (bytes)."""

    found: RunState | None = None
    log_bytes: int = 0
    event_bytes: int = 0

    @classmethod
    def now(cls, folder: RunFolder) -> StartedProcess:
        """The beginning of an engine that is about to start."""
        found = refused_resume.as_found(folder.state())
        return cls(found, log_size(folder), _size(folder.events_file))

    @classmethod
    def joined(cls, folder: RunFolder) -> StartedProcess:
        """The beginning, as far as it can be known, of an engine that somebody else started."""
        state = folder.state()
        found = None if state is None else state.before
        return cls(found, 0, _size(folder.events_file))


def describe_end(
    folder: RunFolder, exit_status: int | None, beginning: StartedProcess, *, wanted: bool = False
) -> EngineEnd:
    """The end of an engine whose process is gone.

    An end state counts only if this engine wrote it: a resumed run still carries the former
    one. A run whose engine died before its first word gets its former state back, and is marked
    failed where it had none, or it would wait for ever; one whose engine was killed because the
    user wanted it (`wanted`) is marked cancelled, or it would pass for crashed.
    """
    state = folder.state()
    refused = refused_resume.refusal(folder, beginning.event_bytes)
    if refused is not None and state is not None and state == beginning.found:
        log = _log(folder, beginning)
        return EngineEnd(folder.path, folder.status(), refused, exit_status, log, refused=True)
    if state and state.state in ENDED_STATES and state != beginning.found:
        log = _log(folder, beginning) if state.state == "failed" else ()
        return EngineEnd(folder.path, state.state, state.message, exit_status, log)
    message = _words(exit_status, state)
    status = folder.status()
    if status in ACTIVE_STATES or file_lock.is_held(folder.lock_file):
        message = f"{message}; another engine has the run"
    elif wanted and state is not None and not _was_finished(state):
        status = "cancelled"
        message = f"cancelled at step {state.step}; nothing was saved since the last checkpoint"
        _mark(folder, state, "cancelled", message)
    elif state is not None and (wanted or state.state == "idle" or state.before is not None):
        if wanted:
            message = "cancelled before the first step of this session"
        refused_resume.end_untrained(folder, state, message)
        status = folder.status()
        back = state.before is not None
        log = _log(folder, beginning)
        return EngineEnd(folder.path, status, message, exit_status, log, refused=back)
    return EngineEnd(folder.path, status, message, exit_status, _log(folder, beginning))


def _was_finished(state: RunState) -> bool:
    """Whether a finished run was to be trained on, and has not begun."""
    return state.before is not None and state.before.state in ("completed", "early_stopped")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _words(exit_status: int | None, state: RunState | None) -> str:
    where = f" at step {state.step:,}" if state and state.step else ""
    if exit_status is None:
        return f"the training process is gone{where} without a word (killed, or out of memory?)"
    if exit_status >= 0:
        return f"the training process ended{where} with exit status {exit_status}, saying no more"
    try:
        name = signal.Signals(-exit_status).name
    except ValueError:
        name = f"signal {-exit_status}"
    hint = f" ({_HINTS[name]})" if name in _HINTS else ""
    return f"the training process was killed by {name}{hint}{where}"


def _mark(folder: RunFolder, state: RunState, word: StateName, message: str) -> None:
    ended = msgspec.structs.replace(
        state, state=word, message=message, eta_seconds=None, updated_at=time.time()
    )
    # The folder may have gone away or become read-only; the end is told all the same.
    with contextlib.suppress(OSError):
        run_folder.write_state(folder, ended)


def _log(folder: RunFolder, beginning: StartedProcess) -> tuple[str, ...]:
    """The last lines that this engine printed, not those of its predecessors."""
    start = max(beginning.log_bytes, log_size(folder) - _LOG_BYTES)
    try:
        with open_regular(folder.log_file) as file:
            file.seek(start)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple([line for line in text.splitlines() if line.strip()][-_LOG_LINES:])
