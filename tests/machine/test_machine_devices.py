"""Devices as their documented interfaces describe them; no answer here was recorded on a card.

NVML's shapes follow NVIDIA's API reference, amdsmi's those of AMD's Python reference.
"""

from __future__ import annotations

import importlib
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.hardware import GpuProcess, GpuSample, HardwareSample
from tui_trainer.machine import nvml as nvml_module
from tui_trainer.machine.amd import AmdGpus
from tui_trainer.machine.apple import AppleGpu
from tui_trainer.machine.gpu import GpuReader, PatientGpus
from tui_trainer.machine.nvml import NvmlGpus
from tui_trainer.machine.sampler import Sampler


class NVMLError(Exception):
    pass


class NVMLError_GpuIsLost(NVMLError):  # noqa: N801, N818
    def __str__(self) -> str:
        return "GPU is lost"


class NVMLError_NotSupported(NVMLError):  # noqa: N801, N818
    pass


def not_supported(*_: Any) -> Any:
    raise NVMLError_NotSupported


def no_slices(gpu: str, place: int) -> str:
    raise NVMLError("Not Found")


# What a whole H200 answers, by function; a handle is the GPU's number as a word.
WHOLE: dict[str, Callable[..., Any]] = {
    "nvmlInit": lambda: None,
    "nvmlSystemGetDriverVersion": lambda: "580.65.06",
    "nvmlSystemGetCudaDriverVersion": lambda: 13000,
    "nvmlSystemGetProcessName": lambda pid: f"/usr/bin/python{pid}",
    "nvmlDeviceGetCount": lambda: 1,
    "nvmlDeviceGetHandleByIndex": str,
    "nvmlDeviceGetName": lambda _: "NVIDIA H200",
    "nvmlDeviceGetUUID": lambda gpu: f"GPU-{gpu}",
    "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=41 << 30, total=139 << 30),
    "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=93, memory=40),
    "nvmlDeviceGetTemperature": lambda *_: 61,
    "nvmlDeviceGetTemperatureThreshold": lambda _, kind: 92 if kind == 0 else 90,
    "nvmlDeviceGetPowerUsage": lambda _: 512_345,
    "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000,
    "nvmlDeviceGetFanSpeed": lambda _: 30,
    "nvmlDeviceGetClockInfo": lambda _, kind: {1: 1755, 2: 3201}[kind],
    "nvmlDeviceGetMaxClockInfo": lambda _, kind: 1980,
    "nvmlDeviceGetCurrentClocksEventReasons": lambda _: 0x4 | 0x20 | 0x1,
    "nvmlDeviceGetCurrPcieLinkGeneration": lambda _: 4,
    "nvmlDeviceGetCurrPcieLinkWidth": lambda _: 8,
    "nvmlDeviceGetMaxPcieLinkGeneration": lambda _: 5,
    "nvmlDeviceGetMaxPcieLinkWidth": lambda _: 16,
    "nvmlDeviceGetTotalEccErrors": lambda _, kind, since: (3, 1)[kind] if since == 0 else 99,
    "nvmlDeviceGetMigMode": lambda _: [0, 0],
    "nvmlDeviceGetMaxMigDeviceCount": lambda _: 7,
    "nvmlDeviceGetMigDeviceHandleByIndex": no_slices,
    "nvmlDeviceGetComputeRunningProcesses": lambda _: [
        SimpleNamespace(pid=7, usedGpuMemory=1 << 20),
        SimpleNamespace(pid=42, usedGpuMemory=38 << 30),
    ],
}
# The fields that each function fills.
FILLS = {
    "nvmlDeviceGetName": {"name"},
    "nvmlDeviceGetUUID": {"uuid"},
    "nvmlDeviceGetMemoryInfo": {"memory_used", "memory_total"},
    "nvmlDeviceGetUtilizationRates": {"utilisation", "memory_busy"},
    "nvmlDeviceGetTemperature": {"temperature"},
    "nvmlDeviceGetTemperatureThreshold": {"temperature_limit"},
    "nvmlDeviceGetPowerUsage": {"power"},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit"},
    "nvmlDeviceGetFanSpeed": {"fan"},
    "nvmlDeviceGetClockInfo": {"clock", "memory_clock"},
    "nvmlDeviceGetMaxClockInfo": {"clock_max"},
    "nvmlDeviceGetCurrentClocksEventReasons": {"throttle"},
    "nvmlDeviceGetCurrPcieLinkGeneration": {"pcie_generation"},
    "nvmlDeviceGetCurrPcieLinkWidth": {"pcie_width"},
    "nvmlDeviceGetMaxPcieLinkGeneration": {"pcie_generation_max"},
    "nvmlDeviceGetMaxPcieLinkWidth": {"pcie_width_max"},
    "nvmlDeviceGetTotalEccErrors": {"ecc_corrected", "ecc_uncorrected"},
    "nvmlDeviceGetComputeRunningProcesses": {"processes", "memory_run"},
}


def nvml(**changes: Any) -> NvmlGpus:
    fake: Any = SimpleNamespace(NVMLError=NVMLError, **{**WHOLE, **changes})
    return NvmlGpus(lambda: fake)


def test_every_field_of_a_whole_gpu() -> None:
    gpus = nvml()
    assert gpus.read(42) == [
        GpuSample(
            index=0,
            vendor="NVIDIA",
            name="NVIDIA H200",
            uuid="GPU-0",
            utilisation=93,
            memory_busy=40,
            memory_used=41 << 30,
            memory_total=139 << 30,
            memory_run=38 << 30,
            temperature=61,
            temperature_limit=90,
            power=512_345 * 1e-3,
            power_limit=700,
            fan=30,
            clock=1755,
            clock_max=1980,
            memory_clock=3201,
            throttle=["power cap", "heat (software)"],
            pcie_generation=4,
            pcie_width=8,
            pcie_generation_max=5,
            pcie_width_max=16,
            ecc_corrected=3,
            ecc_uncorrected=1,
            processes=[
                GpuProcess(pid=42, name="/usr/bin/python42", memory=38 << 30),
                GpuProcess(pid=7, name="/usr/bin/python7", memory=1 << 20),
            ],
        )
    ]
    assert (gpus.driver(), gpus.cuda(), gpus.message) == ("580.65.06", "13.0", None)


@given(st.sets(st.sampled_from(sorted(FILLS))), st.booleans())
def test_whatever_is_missing_nothing_else_is(absent: set[str], old_library: bool) -> None:
    """A function that fails, or that the library lacks, takes its own fields away alone."""
    (whole,) = nvml().read(42)
    fake = SimpleNamespace(NVMLError=NVMLError, **WHOLE)
    for function in absent:
        if old_library:
            delattr(fake, function)
        else:
            setattr(fake, function, not_supported)
    loose: Any = fake
    (gpu,) = NvmlGpus(lambda: loose).read(42)
    gone = {field for function in absent for field in FILLS[function]}
    assert {
        field
        for field in GpuSample.__struct_fields__
        if field != "unified" and getattr(gpu, field) != getattr(whole, field)
    } == gone
    assert all(getattr(gpu, field) is None for field in gone)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]),
    st.binary(max_size=5), st.just(SimpleNamespace(gpu="x", memory=-1, used=None, total="N/A")),
    st.just([1, 1]), st.just([SimpleNamespace(pid="?", usedGpuMemory=(1 << 64) - 1), object()]),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(FILLS)), ANYTHING))
def test_no_answer_however_odd_is_raised_or_unwritable(answers: dict[str, Any]) -> None:
    changes = {name: (lambda *_, value=value: value) for name, value in answers.items()}
    sample = HardwareSample(time=0.0, gpus=nvml(**changes).read(42))
    assert msgspec.json.decode(msgspec.json.encode(sample), type=HardwareSample) == sample


def test_a_driver_before_535_gives_throttle_reasons_by_their_old_name() -> None:
    gpus = nvml(
        nvmlDeviceGetCurrentClocksEventReasons=not_supported,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0x80,
    )
    assert gpus.read()[0].throttle == ["power brake"]


def test_eight_gpus_each_with_its_own_figures() -> None:
    gpus = nvml(
        nvmlDeviceGetCount=lambda: 8, nvmlDeviceGetTemperature=lambda gpu, _: 50 + int(gpu)
    ).read()
    assert [(gpu.index, gpu.temperature) for gpu in gpus] == [(n, 50.0 + n) for n in range(8)]


def test_a_gpu_divided_into_slices() -> None:
    def slice_(gpu: str, place: int) -> str:
        if place not in (0, 3):
            raise NVMLError("Not Found")
        return f"slice {place}"

    def memory(handle: str) -> SimpleNamespace:
        return SimpleNamespace(used=1 << 30, total=(5 if "slice" in handle else 40) << 30)

    (gpu,) = nvml(
        nvmlDeviceGetMigMode=lambda _: [1, 1],
        nvmlDeviceGetMigDeviceHandleByIndex=slice_,
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetName=lambda handle: "A100 MIG 1g.5gb" if "slice" in handle else "A100",
        nvmlDeviceGetUtilizationRates=not_supported,  # so it is with MIG
    ).read()
    assert (gpu.name, gpu.utilisation, gpu.memory_total) == ("A100", None, 40 << 30)
    assert [(m.index, m.name, m.memory_total) for m in gpu.mig] == [
        (0, "A100 MIG 1g.5gb", 5 << 30),
        (3, "A100 MIG 1g.5gb", 5 << 30),
    ]


def test_a_gpu_that_falls_off_the_bus_while_it_is_read_shows_no_half_figures() -> None:
    def lost(*_: Any) -> Any:
        raise NVMLError_GpuIsLost

    gpus = nvml(nvmlDeviceGetTemperature=lost)
    assert gpus.read() == [
        GpuSample(index=0, vendor="NVIDIA", name="NVIDIA H200", problem="GPU is lost")
    ]
    assert gpus.message == "GPU 0 does not answer: GPU is lost"


def test_a_gpu_that_shares_the_machines_memory_is_called_so() -> None:
    (gpu,) = nvml(
        nvmlDeviceGetMemoryInfo=not_supported, nvmlDeviceGetName=lambda _: "NVIDIA GB10"
    ).read()
    assert (gpu.unified, gpu.memory_used, gpu.memory_total) == (True, None, None)


def test_memory_is_counted_as_nvidia_smi_counts_it_where_the_driver_can() -> None:
    def memory(_: Any, version: int | None = None) -> SimpleNamespace:
        return SimpleNamespace(used=40 if version == 2 else 41, total=139)

    assert nvml(nvmlDeviceGetMemoryInfo=memory, nvmlMemory_v2=2).read()[0].memory_used == 40
    assert nvml(nvmlDeviceGetMemoryInfo=memory).read()[0].memory_used == 41
    older = nvml(nvmlMemory_v2=2)  # bindings that know the version over a driver that does not
    (gpu,) = older.read()
    assert (gpu.memory_used, gpu.unified) == (41 << 30, None)


def test_processes_of_a_driver_before_510() -> None:
    gpus = nvml(
        nvmlDeviceGetComputeRunningProcesses=not_supported,
        nvmlDeviceGetComputeRunningProcesses_v2=lambda _: [SimpleNamespace(pid=5)],
    )
    assert gpus.read()[0].processes == [
        GpuProcess(pid=5, name="/usr/bin/python5"),
    ]


def test_the_bindings_that_are_installed_have_every_function_and_number_that_is_used() -> None:
    """A misspelt function would be taken for one that an old driver lacks."""
    bindings = importlib.import_module("pynvml")
    source = Path(nvml_module.__file__).read_text(encoding="utf-8")
    used = set(re.findall(r'"(nvml[A-Z]\w+)"', source)) | {"nvmlInit", "nvmlDeviceGetCount"}
    assert len(used) > 25
    assert {name for name in used if not hasattr(bindings, name)} == set()
    assert nvml_module._SLOWDOWN == bindings.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
    assert (nvml_module._CLOCK_SM, nvml_module._CLOCK_MEMORY) == (
        bindings.NVML_CLOCK_SM,
        bindings.NVML_CLOCK_MEM,
    )
    for bit, reason in (
        (0x04, "SwPowerCap"),
        (0x08, "HwSlowdown"),
        (0x10, "SyncBoost"),
        (0x20, "SwThermalSlowdown"),
        (0x40, "HwThermalSlowdown"),
        (0x80, "HwPowerBrakeSlowdown"),
    ):
        assert bit in nvml_module._THROTTLE
        assert bit == getattr(bindings, f"nvmlClocksEventReason{reason}")


def test_a_memory_figure_that_fails_otherwise_makes_no_gpu_a_unified_one() -> None:
    def broken(_: Any) -> Any:
        raise NVMLError("Unknown Error")

    assert nvml(nvmlDeviceGetMemoryInfo=broken).read()[0].unified is None


def test_a_container_sees_the_pids_of_its_host() -> None:
    """The run's own process is not in the table, and no name is known: neither is made up."""
    (gpu,) = nvml(
        nvmlDeviceGetComputeRunningProcesses=lambda _: [
            SimpleNamespace(pid=3_141_592, usedGpuMemory=None)
        ],
        nvmlSystemGetProcessName=not_supported,
    ).read(run_pid=42)
    assert gpu.memory_run is None
    assert gpu.processes == [GpuProcess(pid=3_141_592)]


class Hanging:
    """A driver that answers once and then hangs until it is let go."""

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


def test_a_hung_driver_is_said_and_asked_no_more_until_it_answers() -> None:
    driver = Hanging()
    gpus = PatientGpus(driver, patience=0.05)
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


def test_the_rest_of_the_machine_is_sampled_while_a_driver_hangs() -> None:
    driver = Hanging()
    driver.calls = 1
    machine = Sampler(gpus=driver, patience=0.05)
    sample = machine.sample()
    driver.free.set()
    assert sample.ram_used is not None and sample.gpus == []
    assert sample.gpu_message is not None and "has not answered" in sample.gpu_message


def amd(**changes: Any) -> AmdGpus:
    answers: dict[str, Any] = {
        "AmdSmiTemperatureType": SimpleNamespace(HOTSPOT=1),
        "AmdSmiTemperatureMetric": SimpleNamespace(CURRENT=0, CRITICAL=5),
        "AmdSmiClkType": SimpleNamespace(GFX=1, MEM=4),
        "amdsmi_init": lambda: None,
        "amdsmi_get_processor_handles": lambda: ["a", "b"],
        "amdsmi_get_gpu_asic_info": lambda _: {"market_name": "AMD Instinct MI300X"},
        "amdsmi_get_gpu_activity": lambda _: {"gfx_activity": 88, "umc_activity": "N/A"},
        "amdsmi_get_gpu_vram_usage": lambda _: {"vram_total": 196_592, "vram_used": 1_000},
        "amdsmi_get_power_info": lambda _: {
            "current_socket_power": "N/A",
            "average_socket_power": 300,
            "power_limit": 750_000_000,
        },
        "amdsmi_get_temp_metric": lambda _, kind, what: 70 if what == 0 else 110,
        "amdsmi_get_clock_info": lambda _, kind: {"clk": 1900 + kind, "max_clk": 2100},
        "amdsmi_get_pcie_info": lambda _: {
            "pcie_metric": {"pcie_width": 16, "pcie_speed": 32000},
            "pcie_static": {"max_pcie_width": 16, "max_pcie_speed": 32000},
        },
        "amdsmi_get_gpu_process_list": lambda _: [{"name": "python", "pid": 42, "mem": 5 << 30}],
        "amdsmi_get_gpu_driver_info": lambda _: {"driver_version": "6.12.12"},
    }
    fake = SimpleNamespace(**{**answers, **changes})
    return AmdGpus(lambda: fake)


def test_amd() -> None:
    gpus = amd()
    first, second = gpus.read(run_pid=42)
    assert (first.name, first.utilisation, first.memory_busy) == ("AMD Instinct MI300X", 88, None)
    assert (first.memory_used, first.memory_run) == (1_000 << 20, 5 << 30)
    assert (first.power, first.power_limit) == (300, 750)
    assert (first.temperature, first.temperature_limit) == (70, 110)
    assert (first.clock, first.memory_clock, first.fan) == (1901, 1904, None)
    assert (first.pcie_generation, first.pcie_width) == (5, 16)
    assert second.index == 1
    assert (gpus.driver(), gpus.cuda()) == ("6.12.12", None)


def test_apple() -> None:
    (gpu,) = AppleGpu("Darwin", "arm64").read()
    assert (gpu.vendor, gpu.unified, gpu.memory_total) == ("Apple", True, None)
    assert AppleGpu("Linux", "aarch64").read() == []


def no_module() -> Any:
    raise ImportError


@pytest.mark.parametrize("cards", [True, False])
def test_all_makers_behind_one_interface(cards: bool) -> None:
    """No NVIDIA driver is no news where there are AMD's cards, and is where there are none."""
    reader = GpuReader([NvmlGpus(no_module), amd() if cards else AmdGpus(no_module)])
    assert len(reader.read()) == (2 if cards else 0)
    assert reader.message == (None if cards else "nvidia-ml-py is not installed")
    assert reader.driver() == ("6.12.12" if cards else None)
