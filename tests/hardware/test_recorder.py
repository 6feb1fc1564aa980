"""The recorder survives a full disk and reports its alarms once it can."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.hardware import recorder as recorder_module
from tui_trainer.hardware import sampler
from tui_trainer.hardware.limit_alarms import LimitAlarm
from tui_trainer.hardware.recorder import Recorder

PATIENCE = 60.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


class Disk:
    """A file that accepts lines unless the disk is full."""

    def __init__(self) -> None:
        self.full = True
        self.lines: list[HardwareSample] = []
        self.refused = 0
        self.reported: list[LimitAlarm] = []

    @contextlib.contextmanager
    def open(self) -> Iterator[Disk]:
        self._check()
        yield self

    def append(self, sample: HardwareSample) -> None:
        self._check()
        self.lines.append(sample)

    def report(self, alarm: LimitAlarm) -> None:
        self._check()
        self.reported.append(alarm)

    def _check(self) -> None:
        if self.full:
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_costs_samples_and_delays_warnings_but_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(sampler, "_ram", lambda: (97, 100))
    disk = Disk()
    ahead = [LimitAlarm("checkpoint_ahead", True, "too full")]
    recorder = Recorder(
        tmp_path,
        disk.open,
        alarm=disk.report,
        forecast=lambda _: ahead.pop() if ahead else None,
    )
    recorder.start()
    until(lambda: disk.refused >= 6)
    assert (disk.lines, disk.reported) == ([], [])
    disk.full = False
    until(lambda: len(disk.lines) >= 2)
    recorder.stop()
    assert [alarm.name for alarm in disk.reported] == ["ram", "checkpoint_ahead"]
