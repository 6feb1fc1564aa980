"""Recording of `hardware.jsonl` while the engine trains."""

from __future__ import annotations

from tui_trainer.engine.checkpoints import disk_space
from tui_trainer.engine.state.session import Session
from tui_trainer.hardware.limit_alarms import LimitAlarm
from tui_trainer.hardware.recorder import Recorder
from tui_trainer.store import atomic


class HardwareLog:
    """Context manager that writes `hardware.jsonl` from its own thread."""

    def __init__(self, session: Session) -> None:
        folder = session.folder

        def warn(alarm: LimitAlarm) -> None:
            detail = {"alarm": alarm.name, "open": alarm.opens}
            session.report.event("warning", session.state.step, alarm.message, detail=detail)

        self._recorder = Recorder(
            folder.path,
            lambda: atomic.appending(folder.hardware_file),
            session.step_profile.latest,
            warn,
            disk_space.SpaceForecast(session).observe,
        )

    def __enter__(self) -> HardwareLog:
        self._recorder.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._recorder.stop()
