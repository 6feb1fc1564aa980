"""Reading GPUs through fakes of NVML: whole, partial, lost, absent."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tui_trainer.hardware.nvml import Nvml, NvmlGpus


class NVMLError(Exception):
    pass


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818
    pass


class NVMLError_LibRmVersionMismatch(NVMLError):  # noqa: N801, N818
    pass


class NVMLError_FunctionNotFound(NVMLError):  # noqa: N801, N818
    pass


class NVMLError_GpuIsLost(NVMLError):  # noqa: N801, N818
    def __str__(self) -> str:
        return "GPU is lost"


def fails(error: Exception) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise error

    return call


class FakeNvml(SimpleNamespace):
    """One H200 that answers every call, except for the given answers."""

    def __init__(self, **changes: Any) -> None:
        self.starts = 0
        answers: dict[str, Any] = {
            "NVMLError": NVMLError,
            "nvmlInit": self._start,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: f"handle-{index}",
            "nvmlDeviceGetName": lambda _: "NVIDIA H200",
            "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=41 << 30, total=139 << 30),
            "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=93, memory=40),
            "nvmlDeviceGetTemperature": lambda _, sensor: 61 if sensor == 0 else -1,
            "nvmlDeviceGetPowerUsage": lambda _: 512_345,
            "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000,
            "nvmlDeviceGetComputeRunningProcesses": lambda _: [
                SimpleNamespace(pid=7, usedGpuMemory=1),
                SimpleNamespace(pid=42, usedGpuMemory=38 << 30),
            ],
            "nvmlSystemGetDriverVersion": lambda: "580.65.06",
        }
        super().__init__(**{**answers, **changes})

    def _start(self) -> None:
        self.starts += 1


def reader(fake: Any) -> NvmlGpus:
    def load() -> Nvml:
        nvml: Nvml = fake
        return nvml

    return NvmlGpus(load)


def test_a_whole_gpu() -> None:
    gpus = reader(FakeNvml())
    (gpu,) = gpus.read(run_pid=42)
    assert gpu.name == "NVIDIA H200"
    assert gpu.utilisation == 93
    assert (gpu.memory_used, gpu.memory_total) == (41 << 30, 139 << 30)
    assert gpu.memory_run == 38 << 30
    assert gpu.temperature == 61
    assert gpu.power == pytest.approx(512.345)
    assert gpu.power_limit == 700
    assert gpus.message is None
    assert gpus.driver() == "580.65.06"


def test_nvml_starts_once_and_only_when_asked() -> None:
    fake = FakeNvml()
    gpus = reader(fake)
    assert fake.starts == 0
    for _ in range(3):
        gpus.read()
    assert fake.starts == 1


def test_names_as_bytes_of_old_bindings() -> None:
    (gpu,) = reader(FakeNvml(nvmlDeviceGetName=lambda _: b"Tesla \xffT4")).read()
    assert gpu.name == "Tesla \ufffdT4"


def test_a_process_without_memory_on_the_gpu() -> None:
    assert reader(FakeNvml()).read(run_pid=99)[0].memory_run is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NVMLError_LibraryNotFound(), "no NVIDIA driver"),
        (
            NVMLError_LibRmVersionMismatch(),
            "NVIDIA driver and library differ in version; reboot",
        ),
        (NVMLError_FunctionNotFound(), "NVIDIA driver too old to be queried"),
        (NVMLError("odd\n thing"), "no NVIDIA GPU: odd thing"),
        (
            OSError("libnvidia-ml.so.1: file too short"),
            "no NVIDIA GPU: libnvidia-ml.so.1: file too short",
        ),
    ],
)
def test_a_missing_driver_has_a_short_message(error: Exception, message: str) -> None:
    gpus = reader(FakeNvml(nvmlInit=fails(error)))
    assert gpus.read() == []
    assert gpus.message == message
    assert gpus.driver() is None


def test_a_missing_library_has_a_message() -> None:
    def load() -> Nvml:
        raise ImportError("pynvml")

    gpus = NvmlGpus(load)
    assert gpus.read() == []
    assert gpus.message == "nvidia-ml-py is not installed"


def test_a_driver_without_gpus() -> None:
    gpus = reader(FakeNvml(nvmlDeviceGetCount=lambda: 0))
    assert gpus.read() == []
    assert gpus.message == "no NVIDIA GPU"


def test_a_driver_that_stops_answering() -> None:
    gpus = reader(FakeNvml(nvmlDeviceGetCount=fails(NVMLError_GpuIsLost())))
    assert gpus.read() == []
    assert gpus.message == "the NVIDIA driver does not answer: GPU is lost"


def test_one_of_two_gpus_is_lost() -> None:
    def handle(index: int) -> str:
        if index == 1:
            raise NVMLError_GpuIsLost()
        return "handle"

    gpus = reader(FakeNvml(nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetHandleByIndex=handle))
    first, second = gpus.read()
    assert first.utilisation == 93
    assert (second.index, second.name, second.utilisation) == (1, None, None)
    assert gpus.message == "GPU 1 does not answer: GPU is lost"


ASKED = {
    "nvmlDeviceGetName": ("name",),
    "nvmlDeviceGetMemoryInfo": ("memory_used", "memory_total"),
    "nvmlDeviceGetUtilizationRates": ("utilisation",),
    "nvmlDeviceGetTemperature": ("temperature",),
    "nvmlDeviceGetPowerUsage": ("power",),
    "nvmlDeviceGetEnforcedPowerLimit": ("power_limit",),
    "nvmlDeviceGetComputeRunningProcesses": ("memory_run",),
}


@pytest.mark.parametrize("function", ASKED)
def test_a_value_that_fails_affects_no_other(function: str) -> None:
    (gpu,) = reader(FakeNvml(**{function: fails(NVMLError("not supported"))})).read(run_pid=42)
    values = {name: getattr(gpu, name) for names in ASKED.values() for name in names}
    assert {name for name, value in values.items() if value is None} == set(ASKED[function])


def test_a_function_that_an_old_library_lacks() -> None:
    fake = FakeNvml()
    del fake.nvmlDeviceGetEnforcedPowerLimit
    (gpu,) = reader(fake).read()
    assert gpu.power_limit is None
    assert gpu.power is not None


def test_a_process_whose_memory_nvml_does_not_know() -> None:
    def processes(_: Any) -> list[Any]:
        return [SimpleNamespace(pid=42, usedGpuMemory=None)]

    (gpu,) = reader(FakeNvml(nvmlDeviceGetComputeRunningProcesses=processes)).read(run_pid=42)
    assert gpu.memory_run is None
