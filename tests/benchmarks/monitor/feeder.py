"""The rows that every program is shown, and what writes them at a pace."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# A row's loss tells which row it is: it counts thousandths from 1 to 10, then begins anew.
CYCLE = 9000


@dataclass(frozen=True)
class Recording:
    """A run on disk. `path` is what the program is given, `file` takes the `coming` rows."""

    path: Path
    file: Path
    coming: Sequence[bytes] = ()
    beat: Callable[[int], None] | None = None  # what a writer does a few times a second besides


def numbers(row: int) -> dict[str, float]:
    """The four metrics of a row."""
    return {
        "loss": 1 + (row % CYCLE) / 1000,
        "learning_rate": 2e-4 * (1 - row % CYCLE / CYCLE),
        "gradient_norm": 0.5 + 0.001 * (row * 7919 % 1000),
        "tokens": 800 + row * 31 % 64,
    }


def row_of_loss(loss: float) -> int:
    """Which row of its cycle a loss belongs to."""
    return round((loss - 1) * 1000)


def line(row: int, begun: float) -> bytes:
    """A row as a line of `metrics.jsonl`."""
    record = {
        "kind": "train",
        "step": row + 1,
        "epoch": round(row / 1000, 4),
        **numbers(row),
        "phase": "full",
        "was_predicted": False,
        "prediction_error": None,
        "step_time_ms": 41.2,
        "examples": 8,
        "time": round(begun + 0.05 * row, 3),
    }
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


class Feeder:
    """Appends the coming rows of a recording, `rate` a second; notes when each was written."""

    def __init__(self, recording: Recording, rate: float) -> None:
        self.written: list[float] = []  # time.monotonic() just before each row's write
        self._recording, self._rate = recording, rate
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _write(self) -> None:
        recording, begun, beaten = self._recording, time.monotonic(), 0.0
        file = os.open(recording.file, os.O_WRONLY | os.O_APPEND)
        try:
            for row, data in enumerate(recording.coming):
                if self._left.wait(max(0.0, begun + row / self._rate - time.monotonic())):
                    return
                self.written.append(time.monotonic())  # after it, the screen might be first
                os.write(file, data)
                if recording.beat is not None and self.written[-1] - beaten >= 0.25:
                    beaten = self.written[-1]
                    recording.beat(row)
        finally:
            os.close(file)
