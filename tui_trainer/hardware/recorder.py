"""Samples of the machine beside the metrics, so that a finished run's can be looked at later."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from tui_trainer.contracts.hardware import HardwareSample, StepDivision
from tui_trainer.hardware.limit_alarms import LimitAlarm, LimitAlarms
from tui_trainer.hardware.sampler import Sampler

# Seconds between samples: dense at first, twice as far apart after every so many, up to a limit,
# so that a night's run leaves some thousand lines.
FIRST_SECONDS = 2.0
SAMPLES_PER_STAGE = 300
LONGEST_SECONDS = 30.0


class SampleFile(Protocol):
    """Where the samples go."""

    def append(self, record: HardwareSample) -> None:
        """Writes one."""


class Recorder:
    """Samples this process and its machine from a thread of its own, between start and stop.

    `lines` opens where the samples go, in the thread; `folder` is on the disk that matters, and
    `division` tells how the last steps divided, where somebody knows; `alarm` is told, in the
    thread, what comes near its limit and what leaves it, `outlook` sees more of that in a sample.
    Where nothing can be written, as on a full disk, samples are lost and what is to be told
    waits: neither is worth a run.
    """

    def __init__(
        self,
        folder: Path,
        lines: Callable[[], contextlib.AbstractContextManager[SampleFile]],
        division: Callable[[], StepDivision | None] = lambda: None,
        alarm: Callable[[LimitAlarm], None] = lambda _: None,
        outlook: Callable[[HardwareSample], LimitAlarm | None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._lines = lines
        self._division = division
        self._alarm = alarm
        self._outlook = outlook
        self._alarms = LimitAlarms()
        self._untold: list[LimitAlarm] = []
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
        seconds, written, due = FIRST_SECONDS, 0, 0.0
        lines: SampleFile | None = None
        with contextlib.ExitStack() as stack:
            # Looked at all the time, so that a warning comes before the end; written more seldom.
            while not self._ended.wait(FIRST_SECONDS if due else 0.2):
                sample = with_division(sampler.sample(), self._division())
                self._warn(sample)
                now = time.monotonic()
                if now + FIRST_SECONDS / 2 < due:
                    continue
                with contextlib.suppress(OSError):
                    lines = lines or stack.enter_context(self._lines())
                    lines.append(sample)
                    written += 1
                    if written % SAMPLES_PER_STAGE == 0:
                        seconds = min(LONGEST_SECONDS, seconds * 2)
                due = now + seconds

    def _warn(self, sample: HardwareSample) -> None:
        self._untold += self._alarms.look(sample)
        ahead = self._outlook(sample)
        if ahead is not None:
            self._untold.append(ahead)
        with contextlib.suppress(OSError):
            while self._untold:
                self._alarm(self._untold[0])
                del self._untold[0]


def with_division(sample: HardwareSample, division: StepDivision | None) -> HardwareSample:
    """The sample with what only the training process knows. Its own count of memory stands in
    where the driver cannot tell the run's share, as in a container or on Apple's GPU."""
    if division is None:
        return sample
    gpus = sample.gpus
    if len(gpus) == 1 and gpus[0].memory_run is None and division.memory_reserved is not None:
        gpus = [msgspec.structs.replace(gpus[0], memory_run=division.memory_reserved)]
    return msgspec.structs.replace(sample, division=division, gpus=gpus)
