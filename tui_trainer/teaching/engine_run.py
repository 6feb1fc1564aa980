"""Standing by the engine of a training until it has ended."""

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
from tui_trainer.contracts.run import ACTIVE_STATES, RunState
from tui_trainer.launch.engine_process import start_engine
from tui_trainer.launch.exit_report import StartedProcess, describe_end
from tui_trainer.store import file_lock
from tui_trainer.store.runs import process_identity, run_control
from tui_trainer.store.runs.run_folder import RunFolder

POLL_SECONDS = 0.1
# How long an engine that was told to end may take before it is killed.
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class EngineOutcome:
    """How a run ended: `status` as the run's own word, or `crashed`; `message` says why."""

    status: str
    message: str


@dataclass(frozen=True)
class RunRequests:
    """What is asked of whoever stands by: `left` to leave the engine alone, `cancelled` gives
    the reason to end it, `seen` is told the run's state; `limit_seconds` of work at most."""

    left: threading.Event
    cancelled: Callable[[], str | None]
    seen: Callable[[RunState], None]
    limit_seconds: float
    command: Sequence[str] | None = None


class EngineRun:
    """One engine, started here or found running."""

    def __init__(self, folder: RunFolder, orders: RunRequests) -> None:
        self._folder = folder
        self._orders = orders
        self._process: subprocess.Popen[bytes] | None = None
        self._beginning = StartedProcess()
        self._used = 0.0  # seconds of work; a paused run does not use up its time
        self._looked = self._attached = time.monotonic()
        self._ending: str | None = None
        self._told = False
        self._kill_at: float | None = None
        self._killed = False

    def start(self) -> None:
        """Starts an engine on the folder. Raises `UserError`."""
        self._beginning = StartedProcess.now(self._folder)
        self._process = start_engine(self._folder, command=self._orders.command)

    def attach(self) -> None:
        """Takes over a run whose engine another session started."""
        state = self._folder.state()
        self._used = state.elapsed_seconds if state else 0.0
        self._beginning = StartedProcess.joined(self._folder)

    def follow(self) -> EngineOutcome | None:
        """Waits for the end; None where the engine is to be left alone."""
        while not self._orders.left.is_set():
            state = self._folder.state()
            if state is not None:
                self._orders.seen(state)
            self._count(state)
            self._judge()
            if self._ended():
                return self._outcome()
            self._orders.left.wait(POLL_SECONDS)
        return None

    def _count(self, state: RunState | None) -> None:
        now = time.monotonic()
        if state is None or state.state != "paused":
            self._used += now - self._looked
        self._looked = now

    def _judge(self) -> None:
        """Ends the engine where it was cancelled or has used up its time."""
        if self._ending is None:
            self._ending = self._orders.cancelled()
        if self._ending is None and self._used > self._orders.limit_seconds:
            minutes = self._orders.limit_seconds / 60
            self._ending = f"ended after its time limit of {minutes:g} minutes"
        if self._ending is None:
            return
        now = time.monotonic()
        self._kill_at = self._kill_at or now + PATIENCE_SECONDS
        # An engine that has not spoken yet would take the command for its predecessor's.
        if not self._told and self._folder.status() in ACTIVE_STATES:
            with contextlib.suppress(UserError):  # it is just ending
                run_control.send(self._folder, "cancel")
            self._told = True
        if now > self._kill_at and not self._killed:
            self._killed = True
            self._kill()

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
            # Another session's engine was quicker: this one found the run locked.
            self._process, self._attached = None, time.monotonic()
        status = self._folder.status()
        if status == "idle":  # an engine loads before its first word
            return time.monotonic() - self._attached > PATIENCE_SECONDS
        return status not in ACTIVE_STATES

    def _outcome(self) -> EngineOutcome:
        status = None if self._process is None else self._process.returncode
        end = describe_end(self._folder, status, self._beginning, wanted=self._killed)
        if self._ending is not None and end.status != "completed":
            return EngineOutcome("cancelled", self._ending)
        message = end.message or end.status
        if end.log and end.log[-1] not in message:
            message = f"{message}; it last printed: {end.log[-1]}"
        return EngineOutcome(end.status, message)
