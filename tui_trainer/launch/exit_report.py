"""How an engine ended: the run's status, and a message for the user."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from tui_trainer.contracts.runs.data_report import TooManyLeftOut
from tui_trainer.contracts.runs.run import ACTIVE_STATES, ENDED_STATES, RunState, StateName
from tui_trainer.launch.engine_process import log_size
from tui_trainer.store import file_lock
from tui_trainer.store.regular_files import open_regular
from tui_trainer.store.runs import refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

_LOG_LINES = 12
_LOG_BYTES = 16_384
_HINTS = {
    "SIGKILL": "out of memory?",
    "SIGSEGV": "a fault in compiled code",
    "SIGBUS": "a full disk, or a fault in compiled code",
    "SIGILL": "compiled code that this processor cannot execute",
}


@dataclass(frozen=True)
class EngineEnd:
    """The end of one engine."""

    path: Path  # of the run folder
    status: str  # of the run: completed, early_stopped, cancelled, failed or crashed
    message: str  # one sentence for the user
    # Of the process, or minus the signal's number; None if another process started it.
    exit_status: int | None
    log: tuple[str, ...] = ()  # last lines that it printed, if it failed or crashed
    refused: bool = False  # it ended before its first step, and the run is as before
    left_out: TooManyLeftOut | None = None  # rows that the job does not allow to be left out


@dataclass(frozen=True)
class EngineStart:
    """The run before an engine was started on it."""

    found: RunState | None = None  # state of the run; None if it has never trained
    log_bytes: int = 0  # size of `engine.log`
    event_bytes: int = 0  # size of `events.jsonl`

    @classmethod
    def now(cls, folder: RunFolder) -> EngineStart:
        """The run now, before an engine is started on it."""
        found = refused_resume.as_found(folder.state())
        return cls(found, log_size(folder), _size(folder.events_file))

    @classmethod
    def joined(cls, folder: RunFolder) -> EngineStart:
        """The run as far as known, if another process has started the engine."""
        state = folder.state()
        found = None if state is None else state.before
        return cls(found, 0, _size(folder.events_file))


def describe_end(
    folder: RunFolder, exit_status: int | None, start: EngineStart, *, wanted: bool = False
) -> EngineEnd:
    """The end of an engine whose process is gone; updates the run's state where needed.

    A final state counts only if this engine wrote it, since a resumed run still has its former
    one. If the engine ended before its first state, the run gets its former state back, or is
    marked as failed if it had none. If the user had the engine killed (`wanted`), the run is
    marked as cancelled.
    """
    state = folder.state()
    refused = refused_resume.refusal(folder, start.event_bytes)
    if refused is not None and state is not None and state == start.found:
        log, status = _log(folder, start), folder.status()
        end = EngineEnd(folder.path, status, refused, exit_status, log, refused=True)
        return replace(end, left_out=_left_out(folder, refused))
    if state and state.state in ENDED_STATES and state != start.found:
        failed = state.state == "failed"
        log = _log(folder, start) if failed else ()
        rows = _left_out(folder, state.message) if failed else None
        return EngineEnd(folder.path, state.state, state.message, exit_status, log, left_out=rows)
    message = _message(exit_status, state)
    status = folder.status()
    if status in ACTIVE_STATES or file_lock.is_held(folder.lock_file):
        message = f"{message}; another engine trains the run now"
    elif wanted and state is not None and not _was_finished(state):
        status = "cancelled"
        step = formats.count(state.step)
        message = f"cancelled at step {step}; nothing was saved since the last checkpoint"
        _mark(folder, state, "cancelled", message)
    elif state is not None and (wanted or state.state == "idle" or state.before is not None):
        if wanted:
            message = "cancelled before the first step of this session"
        refused_resume.end_untrained(folder, state, message)
        status = folder.status()
        restored = state.before is not None
        log = _log(folder, start)
        return EngineEnd(folder.path, status, message, exit_status, log, refused=restored)
    return EngineEnd(folder.path, status, message, exit_status, _log(folder, start))


def _left_out(folder: RunFolder, message: str) -> TooManyLeftOut | None:
    """The rows that made the engine refuse the run, if that is what `message`, the reason of its
    end, is about."""
    errors = [event for event in folder.events() if event.kind == "error"]
    if not errors or message not in (errors[-1].message, errors[-1].detail.get("refused")):
        return None
    try:
        return msgspec.convert(errors[-1].detail.get("left_out"), TooManyLeftOut)
    except msgspec.ValidationError:  # the error is another one
        return None


def _was_finished(state: RunState) -> bool:
    """Whether a finished run was resumed and has not trained a step since."""
    return state.before is not None and state.before.state in ("completed", "early_stopped")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _message(exit_status: int | None, state: RunState | None) -> str:
    where = f" at step {formats.count(state.step)}" if state and state.step else ""
    if exit_status is None:
        return f"the training process ended unexpectedly{where} (killed, or out of memory?)"
    if exit_status >= 0:
        return (
            f"the training process ended unexpectedly{where} with exit status {exit_status} and "
            "without a message"
        )
    try:
        name = signal.Signals(-exit_status).name
    except ValueError:
        name = f"signal {-exit_status}"
    hint = f" ({_HINTS[name]})" if name in _HINTS else ""
    return f"the training process was killed by {name}{hint}{where}"


def _mark(folder: RunFolder, state: RunState, name: StateName, message: str) -> None:
    ended = msgspec.structs.replace(
        state, state=name, message=message, eta_seconds=None, updated_at=time.time()
    )
    # The folder may be deleted or read-only; the caller reports the end in any case.
    with contextlib.suppress(OSError):
        run_folder.write_state(folder, ended)


def _log(folder: RunFolder, start: EngineStart) -> tuple[str, ...]:
    """The last lines that this engine printed, without those of earlier ones."""
    offset = max(start.log_bytes, log_size(folder) - _LOG_BYTES)
    try:
        with open_regular(folder.log_file) as file:
            file.seek(offset)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple([line for line in text.splitlines() if line.strip()][-_LOG_LINES:])
