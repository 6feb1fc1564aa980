"""Samples of the machine beside the metrics, so that a finished run's can be looked at later."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.machine.sampler import Sampler

# Seconds between samples: dense at first, twice as far apart after every so many, up to a limit,
# so that a night's run leaves some thousand lines.
FIRST_SECONDS = 2.0
SAMPLES_PER_STAGE = 300
LONGEST_SECONDS = 30.0


class Lines(Protocol):
    """Where the samples go."""

    def append(self, record: HardwareSample) -> None:
        """Writes one."""


class Recorder:
    """Samples this process and its machine from a thread of its own, between start and stop.

    `lines` opens where the samples go, in the thread; `folder` is on the disk that matters.
    Ends quietly where nothing can be written: the samples are not worth a run.
    """

    def __init__(
        self, folder: Path, lines: Callable[[], contextlib.AbstractContextManager[Lines]]
    ) -> None:
        self._folder = folder
        self._lines = lines
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hardware", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Ends; waits `seconds` at most, for a hung driver must not hold up the end of a run."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=seconds)

    def _run(self) -> None:
        sampler = Sampler(run_pid=os.getpid(), disk_path=self._folder)
        seconds, taken = FIRST_SECONDS, 0
        with contextlib.suppress(OSError), self._lines() as lines:
            while not self._ended.wait(seconds if taken else 0.2):
                lines.append(sampler.sample())
                taken += 1
                if taken % SAMPLES_PER_STAGE == 0:
                    seconds = min(LONGEST_SECONDS, seconds * 2)
