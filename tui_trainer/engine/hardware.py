"""`hardware.jsonl`, written while the engine trains."""

from __future__ import annotations

from tui_trainer.machine.record import Recorder
from tui_trainer.store import atomic
from tui_trainer.store.runs import RunFolder


class HardwareRecord:
    """Writes `hardware.jsonl` from a thread of its own while the context lasts."""

    def __init__(self, folder: RunFolder) -> None:
        self._recorder = Recorder(folder.path, lambda: atomic.appending(folder.hardware_file))

    def __enter__(self) -> HardwareRecord:
        self._recorder.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._recorder.stop()
