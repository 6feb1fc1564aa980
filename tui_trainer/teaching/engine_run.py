"""Starts the engine of a training, or attaches to it, and follows it to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import ACTIVE_STATES, RunState
from tui_trainer.launch.engine_process import start_engine
from tui_trainer.launch.exit_report import EngineStart, describe_end
from tui_trainer.store import file_lock
from tui_trainer.store.runs import process_identity, run_control
from tui_trainer.store.runs.run_folder import RunFolder

POLL_SECONDS = 0.1
# How long an engine may take to execute `cancel` before it is killed.
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class EngineOutcome:
    """How a run ended: `status` as in its state file, `crashed`, or `timed out` where it was ended
    by its time limit; `message` gives the reason."""

    status: str
    message: str


@dataclass(frozen=True)
class RunRequests:
    """How an engine is to be followed.

    `stopping`: set to stop following; the engine keeps running. `cancel_reason`: returns why the
    engine is to be cancelled, or None. `on_state`: receives the run's state. `limit_seconds`:
    returns the longest time of work, pauses not counted, which may change while it trains.
    `command`: replaces the engine's command line.
    """

    stopping: threading.Event
    cancel_reason: Callable[[], str | None]
    on_state: Callable[[RunState], None]
    limit_seconds: Callable[[], float]
    command: Sequence[str] | None = None


class EngineRun:
    """One engine process, started here or found running."""

    def __init__(self, folder: RunFolder, requests: RunRequests) -> None:
        self._folder = folder
        self._requests = requests
        self._process: subprocess.Popen[bytes] | None = None
        self._beginning = EngineStart()
        self._work_seconds = 0.0  # pauses are not counted
        self._counted_at = self._attached = time.monotonic()
        self._end_reason: str | None = None
        self._timed_out = False
        self._cancel_sent = False
        self._kill_at: float | None = None
        self._killed = False

    def start(self) -> None:
        """Starts an engine on the folder, with lower priority than the answers of the chat, which
        goes on meanwhile. Raises `UserError`."""
        self._beginning = EngineStart.now(self._folder)
        self._process = start_engine(self._folder, background=True, command=self._requests.command)

    def attach(self) -> None:
        """Follows a run whose engine another session has started."""
        state = self._folder.state()
        self._work_seconds = state.elapsed_seconds if state else 0.0
        self._beginning = EngineStart.joined(self._folder)

    def follow(self) -> EngineOutcome | None:
        """Waits for the end; returns None where `stopping` is set first."""
        while not self._requests.stopping.is_set():
            state = self._folder.state()
            if state is not None:
                self._requests.on_state(state)
            self._count_time(state)
            self._check_limits()
            if self._ended():
                return self._outcome()
            self._requests.stopping.wait(POLL_SECONDS)
        return None

    def _count_time(self, state: RunState | None) -> None:
        now = time.monotonic()
        if state is None or state.state != "paused":
            self._work_seconds += now - self._counted_at
        self._counted_at = now

    def _check_limits(self) -> None:
        """Ends the engine where it was cancelled or has exceeded its time limit."""
        if self._end_reason is None:
            self._end_reason = self._requests.cancel_reason()
        seconds = self._requests.limit_seconds()
        if self._end_reason is None and self._work_seconds > seconds:
            limit = f"{round(seconds / 60, 1):g} minutes" if seconds > 60 else f"{seconds:g} s"
            self._end_reason, self._timed_out = f"ended after its time limit of {limit}", True
        if self._end_reason is None:
            return
        now = time.monotonic()
        self._kill_at = self._kill_at or now + PATIENCE_SECONDS + self._step_seconds()
        # An engine that has not written its state yet ignores commands that are older than it.
        if not self._cancel_sent and self._folder.status() in ACTIVE_STATES:
            with contextlib.suppress(UserError):  # the engine is ending
                run_control.send(self._folder, "stop" if self._timed_out else "cancel")
            self._cancel_sent = True
        if now > self._kill_at and not self._killed:
            self._killed = True
            self._kill()

    def _step_seconds(self) -> float:
        """Time for the step under way to finish, generously: commands are executed after it."""
        state = self._folder.state()
        if state is None or not state.step:
            return 0.0
        return 3 * state.elapsed_seconds / state.step

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            return
        state = self._folder.state()
        if (
            state
            and state.pid
            and process_identity.is_here(state)
            and process_identity.is_alive(state)
        ):
            with contextlib.suppress(OSError):
                os.kill(state.pid, signal.SIGKILL)

    def _ended(self) -> bool:
        if self._process is not None:
            if self._process.poll() is None:
                return False
            if not file_lock.is_held(self._folder.lock_file):
                return True
            # Another session's engine was started first, so this one found the run locked.
            self._process, self._attached = None, time.monotonic()
        status = self._folder.status()
        if status == "idle":  # an engine loads before it writes its first state
            return time.monotonic() - self._attached > PATIENCE_SECONDS
        return status not in ACTIVE_STATES

    def _outcome(self) -> EngineOutcome:
        status = None if self._process is None else self._process.returncode
        end = describe_end(self._folder, status, self._beginning, wanted=self._killed)
        if self._end_reason is not None and end.status != "completed":
            return EngineOutcome("timed out" if self._timed_out else "cancelled", self._end_reason)
        message = end.message or end.status
        if end.log and end.log[-1] not in message:
            message = f"{message}; it last printed: {end.log[-1]}"
        return EngineOutcome(end.status, message)
