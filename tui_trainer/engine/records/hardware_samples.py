"""`hardware.jsonl` read back for the advisor, behind the thread that writes it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tui_trainer.advisor.replay import LAG_SECONDS
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.store.jsonl import RecordReader

_LOOK_SECONDS = 2.0


class DueSamples:
    """Hands out each sample once, when records are `LAG_SECONDS` past it: with the records of
    the same run it always comes at the same place. `taken` is the newest one's time."""

    def __init__(self, file: Path, taken: float) -> None:
        self.taken = taken
        self._samples: RecordReader[HardwareSample] = RecordReader(file, HardwareSample)
        self._looked = 0.0
        self._waiting: deque[HardwareSample] = deque()

    def until(self, time: float) -> Iterator[HardwareSample]:
        """The samples that come before a record of this time (seconds since the epoch)."""
        if abs(time - self._looked) >= _LOOK_SECONDS:
            self._looked = time
            self._look()
        while self._waiting and self._waiting[0].time <= time - LAG_SECONDS:
            sample = self._waiting.popleft()
            self.taken = sample.time
            yield sample

    def _look(self) -> None:
        with contextlib.suppress(OSError):
            samples = self._samples.new()
            self._waiting.extend(sample for sample in samples if sample.time > self.taken)
