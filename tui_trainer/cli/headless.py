"""Runs an engine without a screen: progress, signals, exit status."""

from __future__ import annotations

import signal
import subprocess
import time
from types import FrameType, TracebackType

from tui_trainer.cli.common import output
from tui_trainer.cli.common.notifications import RunNotifications
from tui_trainer.cli.common.progress_printer import JsonProgress, ProgressPrinter, TextProgress
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import ACTIVE_STATES, CommandName
from tui_trainer.launch.engine_process import kill_engine, start_engine
from tui_trainer.launch.exit_report import EngineEnd, EngineStart, describe_end
from tui_trainer.launch.follow_run import Position, follow
from tui_trainer.store.runs import run_control
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.store.settings import load_settings
from tui_trainer.text import formats

INTERRUPTED = 130
KILL_SECONDS = 3.0  # until an engine that does not execute `cancel` is killed


def run_headless(
    folder: RunFolder, from_checkpoint: str | None, rate: float | None = None, *, as_json: bool
) -> int:
    """Run the engine to its end, printing its progress, and return the exit status.

    One Ctrl-C or SIGTERM asks the run to save and stop, a second Ctrl-C to stop without saving.
    A lost terminal (SIGHUP) or closed output ends this process only; the engine keeps running.
    """
    progress: ProgressPrinter = JsonProgress() if as_json else TextProgress(folder)
    notifications = RunNotifications(folder, load_settings().notify)
    started, since = EngineStart.now(folder), Position.at_end(folder)
    with Interrupts() as interrupts:
        process = start_engine(folder, from_checkpoint, rate)
        stopper = Stopper(folder, process, progress)
        try:
            progress.begin()
            for updates in follow(folder, process, since):
                progress.show(updates)
                stopper.update(interrupts.count)
                for text in notifications.poll():
                    progress.notice(formats.escape(text))
            end = describe_end(folder, process.returncode, started, wanted=stopper.killed)
            progress.end(end)
            count = interrupts.count
            notifications.end(end, lambda: interrupts.count > count)
        except BrokenPipeError:
            output.message(f"the output was closed; run {folder.path.name} keeps running")
            raise
    return exit_status(end, interrupted=interrupts.count > 0)


def exit_status(end: EngineEnd, *, interrupted: bool) -> int:
    """0 completed or stopped by a command, 1 failed, 2 bad input, 130 interrupted or cancelled."""
    if end.refused:
        return INTERRUPTED if interrupted else 2 if end.exit_status == 2 else 1
    if end.status in ("completed", "early_stopped"):
        return 0
    if end.status == "cancelled":
        return 0 if end.exit_status == 0 and not interrupted else INTERRUPTED
    return 2 if end.exit_status == 2 else 1


class Interrupts:
    """Counts requests to stop while it is entered, instead of ending the process.

    SIGTERM counts as one however often it is sent, as `timeout` sends it twice. A signal that
    was ignored before (nohup, a background job of a script) stays ignored.
    """

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._count_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _count_signal(self, number: int, frame: FrameType | None) -> None:
        self.count = self.count + 1 if number == signal.SIGINT else max(self.count, 1)


class Stopper:
    """Sends commands for interrupts; kills an engine that does not execute them."""

    def __init__(
        self, folder: RunFolder, process: subprocess.Popen[bytes], progress: ProgressPrinter
    ) -> None:
        self.killed = False
        self._folder = folder
        self._process = process
        self._progress = progress
        self._sent: set[CommandName] = set()
        self._kill_at: float | None = None

    def update(self, interrupts: int) -> None:
        """Send what `interrupts`, their number so far, ask for; called every few milliseconds."""
        if interrupts == 1:
            self._send(
                "stop",
                "stopping: the run is saved first; press Ctrl-C again to stop without saving",
            )
        if interrupts >= 2:
            self._send("cancel", "stopping without saving")
            if self._kill_at is None:
                self._kill_at = time.monotonic() + KILL_SECONDS
            elif time.monotonic() > self._kill_at and not self.killed:
                self.killed = True
                kill_engine(self._process)

    def _send(self, command: CommandName, text: str) -> None:
        # An engine that has not written its state yet would refuse the command as older than it:
        # it is sent at a later call.
        if command in self._sent or self._folder.status() not in ACTIVE_STATES:
            return
        try:
            run_control.send(self._folder, command)
        except UserError:
            return  # the engine is ending
        self._sent.add(command)
        self._progress.notice(text)
