"""`hardware.jsonl` read back for the advisor, behind the thread that writes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tui_trainer.advisor.replay import LAG_SECONDS
from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.store.regular_files import open_regular

_LOOK_SECONDS = 2.0


class DueSamples:
    """Hands out each sample once, when records are `LAG_SECONDS` past it: with the records of
    the same run it always comes at the same place. `taken` is the newest one's time."""

    def __init__(self, file: Path, taken: float) -> None:
        self.taken = taken
        self._file = file
        self._offset = 0
        self._looked = 0.0
        self._waiting: deque[HardwareSample] = deque()
        self._decoder = msgspec.json.Decoder(HardwareSample)

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
        try:
            with open_regular(self._file) as stream:
                stream.seek(self._offset)
                data = stream.read()
        except OSError:
            return
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        for line in data[:whole].split(b"\n"):
            try:
                sample = self._decoder.decode(line)
            except BAD_CONTENT:
                continue
            if sample.time > self.taken:
                self._waiting.append(sample)
