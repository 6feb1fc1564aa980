"""Reading `hardware.jsonl` for the advisor while another thread writes it."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tui_trainer.advisor.replay import LAG_SECONDS
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.store.jsonl import RecordReader

_READ_SECONDS = 2.0  # between reads of the file


class DelayedSamples:
    """Returns each sample once, `LAG_SECONDS` after its time. By then it is in the file, so that
    the same samples come before the same records live, after a resume and in a replay.

    `last_time` is the time of the last returned sample (seconds since the epoch); older samples
    are skipped.
    """

    def __init__(self, file: Path, last_time: float) -> None:
        self.last_time = last_time
        self._samples: RecordReader[HardwareSample] = RecordReader(file, HardwareSample)
        self._read_at = 0.0
        self._waiting: deque[HardwareSample] = deque()

    def until(self, time: float) -> Iterator[HardwareSample]:
        """Yield the samples that come before a record of this time (seconds since the epoch)."""
        if abs(time - self._read_at) >= _READ_SECONDS:
            self._read_at = time
            self._read()
        while self._waiting and self._waiting[0].time <= time - LAG_SECONDS:
            sample = self._waiting.popleft()
            self.last_time = sample.time
            yield sample

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            samples = self._samples.new()
            self._waiting.extend(sample for sample in samples if sample.time > self.last_time)
