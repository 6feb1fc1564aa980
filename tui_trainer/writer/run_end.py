"""Recording how the run of another program's training loop ended."""

from __future__ import annotations

import sys
from typing import Literal

from tui_trainer.hardware.limit_alarms import LimitAlarm
from tui_trainer.hardware.recorder import Recorder
from tui_trainer.store import atomic
from tui_trainer.text import formats
from tui_trainer.writer.command_listener import CommandListener
from tui_trainer.writer.run_files import RunFiles

Ending = Literal["completed", "failed", "cancelled", "early_stopped"]


class RunEnd:
    """Writes the last state of a run that the loop, the exit of the program, or the deletion of
    its writer ends."""

    def __init__(self, records: RunFiles, listener: CommandListener, *, hardware: bool) -> None:
        self._records = records
        self._listener = listener
        folder = records.folder

        def report(alarm: LimitAlarm) -> None:
            detail = {"alarm": alarm.name, "open": alarm.opens}
            records.event("warning", alarm.message, detail=detail)

        self._hardware = Recorder(
            folder.path, lambda: atomic.appending(folder.hardware_file), alarm=report
        )
        if hardware:
            self._hardware.start()

    def finish(self, state: Ending | None, message: str) -> None:
        """End the run in `state`; without one as completed, or as cancelled after a stop."""
        records, command = self._records, self._listener.ending
        if records.closed:
            return
        step = records.state.step
        if command is not None and state in (None, "completed"):
            ended = "stopped" if command == "stop" else "cancelled"
            saved = " and saved" if self._listener.saved else ""
            state = "cancelled"
            message = message or f"{ended} at step {formats.count(step)}{saved}"
        state = state or "completed"
        self._hardware.stop()
        self._listener.refuse_pending()
        if state == "failed":
            records.event("error", message or "failed")
        if state == "completed":
            message = message or f"completed {formats.plural(step, 'step')}"
        records.close(state, message)

    def at_exit(self) -> None:
        """End a run whose program exits without `finish`."""
        if self._records.closed:
            return
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if isinstance(error, BaseException) and not hasattr(sys, "ps1"):
            self.finish(*end_of_exception(error, self._records.state.step))
        else:
            self.finish_abandoned("the program ended")

    def finish_abandoned(self, cause: str = "the RunWriter was deleted") -> None:
        """End a run for which `finish` can no longer be called: as completed if all steps are
        finished or their number is unknown, else as cancelled."""
        state = self._records.state
        total, step = state.total_steps, formats.count(state.step)
        if self._listener.ending is not None or (total is not None and state.step >= total):
            self.finish(None, "")
        elif total is None:
            self.finish("completed", f"{cause} after step {step} without finish()")
        else:
            of_total = f"{step} of {formats.count(total)}"
            self.finish("cancelled", f"{cause} at step {of_total} without finish()")


def end_of_exception(error: BaseException | None, step: int) -> tuple[Ending | None, str]:
    """The state and message of a run that an exception ended; None without an exception."""
    at = f"at step {formats.count(step)}"
    if error is None:
        return None, ""
    if isinstance(error, KeyboardInterrupt):
        return "cancelled", f"interrupted {at}"
    if isinstance(error, GeneratorExit):
        return "cancelled", f"the loop was left {at}"
    if isinstance(error, SystemExit):
        if error.code in (None, 0):
            return "cancelled", f"the program exited {at}"
        return "failed", f"the program exited {at} with exit status {error.code}"
    message = str(error).strip().split("\n")[0][:500] or "no message"
    return "failed", f"{type(error).__name__}: {message}"
