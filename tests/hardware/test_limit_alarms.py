"""Warnings before something runs out: raised once, closed once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.hardware import GpuSample, HardwareSample
from tui_trainer.hardware.limit_alarms import LimitAlarms

GIB = 1 << 30


def changes(alarms: LimitAlarms, *gpus: GpuSample, **values: Any) -> list[tuple[str, bool]]:
    found = alarms.check(HardwareSample(time=0.0, gpus=list(gpus), **values))
    assert all(alarm.message for alarm in found)
    return [(alarm.name, alarm.opens) for alarm in found]


def heat(degrees: float) -> GpuSample:
    return GpuSample(index=2, temperature=degrees, temperature_limit=90.0)


def test_memory_is_reported_once_and_its_end_once() -> None:
    alarms = LimitAlarms()
    assert changes(alarms, ram_used=94, ram_total=100) == []
    assert changes(alarms, ram_used=96, ram_total=100) == [("ram", True)]
    assert changes(alarms, ram_used=97, ram_total=100) == []
    assert changes(alarms, ram_used=93, ram_total=100) == []  # not yet away
    assert changes(alarms, ram_used=None, ram_total=100) == []  # not known is not away
    assert changes(alarms, ram_used=80, ram_total=100) == [("ram", False)]
    assert changes(alarms, ram_used=96, ram_total=100) == [("ram", True)]


def test_disk_and_gpus() -> None:
    (alarm,) = LimitAlarms().check(HardwareSample(time=0.0, disk_free=300 << 20))
    assert alarm.message.startswith("the disk of the run has 300 MiB free: free some space")
    alarms = LimitAlarms()
    assert changes(alarms, disk_free=GIB - 1) == [("disk", True)]
    assert changes(alarms, disk_free=9 * GIB) == [("disk", False)]
    assert changes(alarms, heat(88)) == [("gpu2_heat", True)]
    assert changes(alarms, heat(84)) == []
    assert changes(alarms, heat(80)) == [("gpu2_heat", False)]
    full = GpuSample(index=0, memory_used=99, memory_total=100)
    assert changes(alarms, full) == [("gpu0_memory", True)]


def test_a_message_names_the_problem_and_the_remedy() -> None:
    (alarm,) = LimitAlarms().check(HardwareSample(time=0.0, gpus=[heat(89)]))
    assert alarm.message == "GPU 2 is at 89 °C: it slows down at 90 °C; check its cooling"


@pytest.mark.parametrize("value", [None, 0])
def test_limits_that_are_not_known_raise_nothing(value: int | None) -> None:
    gpu = GpuSample(index=0, temperature=99.0, memory_used=5, memory_total=value)
    assert changes(LimitAlarms(), gpu, ram_used=5, ram_total=value) == []


@given(st.lists(st.integers(0, 100), max_size=40))
def test_an_alarm_opens_and_closes_by_turns(levels: list[int]) -> None:
    alarms = LimitAlarms()
    found = [one for level in levels for one in changes(alarms, ram_used=level, ram_total=100)]
    assert [opens for _, opens in found] == [at % 2 == 0 for at in range(len(found))]


def test_a_gpu_that_is_gone_is_reported_unless_it_was_slow_once() -> None:
    alarms = LimitAlarms()
    lost = GpuSample(index=1, problem="GPU is lost")
    assert changes(alarms, lost) == []
    assert changes(alarms, GpuSample(index=1)) == []
    assert changes(alarms, lost) == []
    assert changes(alarms, lost) == [("gpu1_gone", True)]
    assert changes(alarms, GpuSample(index=1)) == [("gpu1_gone", False)]
