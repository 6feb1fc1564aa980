"""Records hardware samples beside the metrics of a run."""

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

# Seconds between samples: doubled after every `SAMPLES_PER_STAGE` up to a limit, so that a run of
# a night leaves about a thousand lines.
FIRST_SECONDS = 2.0
SAMPLES_PER_STAGE = 300
LONGEST_SECONDS = 30.0


class SampleFile(Protocol):
    """The open file to which samples are written."""

    def append(self, record: HardwareSample) -> None:
        """Writes a sample."""


class Recorder:
    """Samples this process and the computer from a thread of its own, between start and stop.

    Where nothing can be written, as on a full disk, samples are lost and alarms wait until they
    can be reported; neither stops the run.

    Args:
        folder: a folder on the disk whose space is watched.
        lines: opens the file for the samples; called in the thread.
        division: the parts of the newest steps, if known.
        alarm: called in the thread for each alarm that begins or ends.
        forecast: a further alarm from a sample, or None.
    """

    def __init__(
        self,
        folder: Path,
        lines: Callable[[], contextlib.AbstractContextManager[SampleFile]],
        division: Callable[[], StepDivision | None] = lambda: None,
        alarm: Callable[[LimitAlarm], None] = lambda _: None,
        forecast: Callable[[HardwareSample], LimitAlarm | None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._lines = lines
        self._division = division
        self._alarm = alarm
        self._forecast = forecast
        self._alarms = LimitAlarms()
        self._pending: list[LimitAlarm] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hardware", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Ends the thread; waits `seconds` at most, as a hung driver must not delay the end of a
        run."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=seconds)

    def _run(self) -> None:
        sampler = Sampler(run_pid=os.getpid(), disk_path=self._folder)
        seconds, written, due = FIRST_SECONDS, 0, 0.0
        lines: SampleFile | None = None
        with contextlib.ExitStack() as stack:
            # Samples are checked more often than written, so that alarms come in time.
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
        self._pending += self._alarms.check(sample)
        ahead = self._forecast(sample)
        if ahead is not None:
            self._pending.append(ahead)
        with contextlib.suppress(OSError):
            while self._pending:
                self._alarm(self._pending[0])
                del self._pending[0]


def with_division(sample: HardwareSample, division: StepDivision | None) -> HardwareSample:
    """The sample with the figures that only the training process has. Its own count of GPU memory
    is used where the driver does not list the process, as in a container or on Apple's GPU."""
    if division is None:
        return sample
    gpus = sample.gpus
    if len(gpus) == 1 and gpus[0].memory_run is None and division.memory_reserved is not None:
        gpus = [msgspec.structs.replace(gpus[0], memory_run=division.memory_reserved)]
    return msgspec.structs.replace(sample, division=division, gpus=gpus)
