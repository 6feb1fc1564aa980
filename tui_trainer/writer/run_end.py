"""How somebody else's run ended, recorded honestly."""

from __future__ import annotations

import sys
from typing import Literal

from tui_trainer.hardware.limit_alarms import LimitAlarm
from tui_trainer.hardware.recorder import Recorder
from tui_trainer.store import atomic
from tui_trainer.writer.command_listener import CommandListener
from tui_trainer.writer.run_files import RunFiles

Ending = Literal["completed", "failed", "cancelled", "early_stopped"]


class RunEnd:
    """Writes the last state of a run, whoever ends it: the loop, the exit of the program, or
    the writer's being let go of."""

    def __init__(self, records: RunFiles, listener: CommandListener, *, hardware: bool) -> None:
        self._records = records
        self._listener = listener
        folder = records.folder

        def warn(alarm: LimitAlarm) -> None:
            detail = {"alarm": alarm.name, "open": alarm.opens}
            records.event("warning", alarm.message, detail=detail)

        self._hardware = Recorder(
            folder.path, lambda: atomic.appending(folder.hardware_file), alarm=warn
        )
        if hardware:
            self._hardware.start()

    def finish(self, state: Ending | None, message: str) -> None:
        """Ends the run; without `state` as completed, or as cancelled where it was stopped."""
        records, asked = self._records, self._listener.ending
        if records.closed:
            return
        step = records.state.step
        if asked is not None and state in (None, "completed"):
            word = "stopped" if asked == "stop" else "cancelled"
            saved = " and saved" if self._listener.saved else ""
            state, message = "cancelled", message or f"{word} at step {step}{saved}"
        state = state or "completed"
        self._hardware.stop()
        self._listener.refuse_waiting()
        if state == "failed":
            records.event("error", message or "failed")
        records.close(state, message or (f"completed {step} steps" if state == "completed" else ""))

    def at_exit(self) -> None:
        """The program ends without `finish`."""
        if self._records.closed:
            return
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if isinstance(error, BaseException) and not hasattr(sys, "ps1"):
            self.finish(*of_exception(error, self._records.state.step))
        else:
            self.let_go("the program ended")

    def let_go(self, what: str = "the writer was let go of") -> None:
        """Nobody can call `finish` any more: completed if all steps were done, or if nobody knows
        how many there are."""
        state = self._records.state
        total = state.total_steps
        if self._listener.ending is not None or (total is not None and state.step >= total):
            self.finish(None, "")
        elif total is None:
            self.finish("completed", f"{what} after step {state.step} without finish()")
        else:
            self.finish("cancelled", f"{what} at step {state.step} of {total} without finish()")


def of_exception(error: BaseException | None, step: int) -> tuple[Ending | None, str]:
    """The state in which an exception leaves the run, and why."""
    if error is None:
        return None, ""
    if isinstance(error, KeyboardInterrupt):
        return "cancelled", f"interrupted at step {step}"
    if isinstance(error, GeneratorExit):
        return "cancelled", f"left at step {step}"
    if isinstance(error, SystemExit):
        if error.code in (None, 0):
            return "cancelled", f"the program left at step {step}"
        return "failed", f"the program left at step {step} with exit status {error.code}"
    words = str(error).strip().split("\n")[0][:500] or "no message"
    return "failed", f"{type(error).__name__}: {words}"
