"""Drivers that are slow or hang: nothing waits for them longer than the timeout."""

from __future__ import annotations

import threading
import time

from tui_trainer.contracts.hardware import GpuSample
from tui_trainer.hardware.gpu import TimedGpus
from tui_trainer.hardware.sampler import Sampler


class Hanging:
    """A driver that answers once and then hangs until it is released."""

    def __init__(self) -> None:
        self.message: str | None = None
        self.free = threading.Event()
        self.calls = 0

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        self.calls += 1
        if self.calls == 2:
            self.free.wait(20)
        return [GpuSample(index=0, name="H200", utilisation=float(self.calls))]

    def driver(self) -> str | None:
        return "580"

    def cuda(self) -> str | None:
        return "13.0"


def test_a_hung_driver_is_reported_and_not_called_again_until_it_answers() -> None:
    driver = Hanging()
    gpus = TimedGpus(driver, timeout=0.05)
    assert gpus.read()[0].utilisation == 1
    for _ in range(3):
        (gpu,) = gpus.read()
        assert (gpu.name, gpu.utilisation) == ("H200", None)
        assert gpu.problem == "its driver does not answer"
    assert gpus.message is not None and "has not answered for" in gpus.message
    assert driver.calls == 2
    assert (gpus.driver(), gpus.cuda()) == ("580", "13.0")
    driver.free.set()
    for _ in range(100):
        if gpus.read()[0].problem is None:
            break
        time.sleep(0.01)
    assert gpus.read()[0].problem is None and gpus.message is None


def test_other_values_are_sampled_while_a_driver_hangs() -> None:
    driver = Hanging()
    driver.calls = 1
    sampler = Sampler(gpus=driver, timeout=0.05)
    sample = sampler.sample()
    driver.free.set()
    assert sample.ram_used is not None and sample.gpus == []
    assert sample.gpu_message is not None and "has not answered" in sample.gpu_message


def test_a_hung_driver_is_waited_for_once_however_often_the_run_changes() -> None:
    driver = Hanging()
    gpus = TimedGpus(driver, timeout=0.05)
    first = Sampler(gpus=gpus).sample()
    second, third = (Sampler(run_pid=pid, gpus=gpus).sample() for pid in (1, 2))
    driver.free.set()
    assert first.gpus[0].utilisation == 1
    assert [sample.gpus[0].problem for sample in (second, third)] == [
        "its driver does not answer",
        "its driver does not answer",
    ]
    assert third.gpus[0].name == "H200" and driver.calls == 2


def test_a_driver_that_is_slow_is_waited_for() -> None:
    class Slow(Hanging):
        def read(self, run_pid: int | None = None) -> list[GpuSample]:
            time.sleep(0.05)
            return [GpuSample(index=0, utilisation=50.0)]

    gpus = TimedGpus(Slow(), timeout=60.0)
    assert [gpus.read()[0].utilisation for _ in range(2)] == [50.0, 50.0]
    assert gpus.message is None
