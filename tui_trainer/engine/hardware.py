"""Samples of the machine beside the metrics, so that a finished run's can be looked at later."""

from __future__ import annotations

import os
import threading

from tui_trainer.machine.sampler import Sampler
from tui_trainer.store import atomic
from tui_trainer.store.runs import RunFolder

# Seconds between samples: dense at first, twice as far apart after every so many, up to a limit,
# so that a night's run leaves some thousand lines.
FIRST_SECONDS = 2.0
SAMPLES_PER_STAGE = 300
LONGEST_SECONDS = 30.0


class HardwareRecord:
    """Writes `hardware.jsonl` from a thread of its own while the context lasts."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hardware", daemon=True)

    def __enter__(self) -> HardwareRecord:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join(timeout=2.0)  # a hung driver must not hold up the end of a run

    def _run(self) -> None:
        sampler = Sampler(run_pid=os.getpid(), disk_path=self._folder.path)
        seconds, taken = FIRST_SECONDS, 0
        with atomic.appending(self._folder.hardware_file) as lines:
            while not self._ended.wait(seconds if taken else 0.2):
                lines.append(sampler.sample())
                taken += 1
                if taken % SAMPLES_PER_STAGE == 0:
                    seconds = min(LONGEST_SECONDS, seconds * 2)
