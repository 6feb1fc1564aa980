"""NVIDIA's GPUs as the interface is documented; no answer here was recorded on a card."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.hardware.nvml_errors import NVMLError, NVMLError_GpuIsLost, NVMLError_NotSupported
from tui_trainer.contracts.hardware import GpuProcess, GpuSample, HardwareSample
from tui_trainer.hardware import nvml as nvml_module
from tui_trainer.hardware.nvml import NvmlGpus


def not_supported(*_: Any) -> Any:
    raise NVMLError_NotSupported


def no_slices(gpu: str, slot: int) -> str:
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
    "nvmlDeviceGetProcessUtilization": lambda _, since: [
        SimpleNamespace(pid=42, timeStamp=since + 2, smUtil=88),
        SimpleNamespace(pid=42, timeStamp=since + 1, smUtil=11),
        SimpleNamespace(pid=7, timeStamp=since + 1, smUtil=5),
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
                GpuProcess(
                    pid=42, name="/usr/bin/python42", memory=38 << 30, utilisation=88, run=True
                ),
                GpuProcess(pid=7, name="/usr/bin/python7", memory=1 << 20, utilisation=5),
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
def test_no_unexpected_answer_raises_or_cannot_be_written(answers: dict[str, Any]) -> None:
    changes = {name: (lambda *_, value=value: value) for name, value in answers.items()}
    sample = HardwareSample(time=0.0, gpus=nvml(**changes).read(42))
    assert msgspec.json.decode(msgspec.json.encode(sample), type=HardwareSample) == sample


def test_a_driver_before_535_gives_throttle_reasons_by_their_old_name() -> None:
    gpus = nvml(
        nvmlDeviceGetCurrentClocksEventReasons=not_supported,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0x80,
    )
    assert gpus.read()[0].throttle == ["power brake"]


def test_a_driver_without_the_older_temperature_functions() -> None:
    """Newer GPUs return the distance to the slowdown, and newer drivers lack the old function."""
    (gpu,) = nvml(
        nvmlDeviceGetTemperature=not_supported,
        nvmlDeviceGetTemperatureThreshold=not_supported,
        nvmlDeviceGetTemperatureV=lambda _, sensor: 61 if sensor == 0 else 99,
        nvmlDeviceGetMarginTemperature=lambda _: 26,
    ).read()
    assert (gpu.temperature, gpu.temperature_limit) == (61, 87)
    (gpu,) = nvml(
        nvmlDeviceGetTemperature=not_supported,
        nvmlDeviceGetTemperatureThreshold=not_supported,
        nvmlDeviceGetMarginTemperature=lambda _: 26,
    ).read()
    assert (gpu.temperature, gpu.temperature_limit) == (None, None)


def test_processes_of_a_divided_gpu_are_asked_of_its_slices() -> None:
    """For users other than root."""

    def processes(handle: str) -> list[SimpleNamespace]:
        if "slice" not in handle:
            raise NVMLError("Insufficient Permissions")
        return [SimpleNamespace(pid=40 + int(handle[-1]), usedGpuMemory=1 << 30)]

    (gpu,) = nvml(
        nvmlDeviceGetMigMode=lambda _: [1, 1],
        nvmlDeviceGetMaxMigDeviceCount=lambda _: 2,
        nvmlDeviceGetMigDeviceHandleByIndex=lambda _, slot: f"slice {slot}",
        nvmlDeviceGetComputeRunningProcesses=processes,
        nvmlDeviceGetProcessUtilization=not_supported,
    ).read(41)
    assert [(p.pid, p.run, p.utilisation) for p in gpu.processes or ()] == [
        (40, False, None),
        (41, True, None),
    ]
    assert gpu.memory_run == 1 << 30


def test_eight_gpus_each_with_its_own_figures() -> None:
    gpus = nvml(
        nvmlDeviceGetCount=lambda: 8, nvmlDeviceGetTemperature=lambda gpu, _: 50 + int(gpu)
    ).read()
    assert [(gpu.index, gpu.temperature) for gpu in gpus] == [(n, 50.0 + n) for n in range(8)]


def test_a_gpu_divided_into_slices() -> None:
    def slice_(gpu: str, slot: int) -> str:
        if slot not in (0, 3):
            raise NVMLError("Not Found")
        return f"slice {slot}"

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


def test_a_gpu_that_was_lost_before_is_known_by_its_name() -> None:
    lost: list[bool] = []

    def handle(index: int) -> str:
        if lost:
            raise NVMLError_GpuIsLost
        return str(index)

    gpus = nvml(nvmlDeviceGetHandleByIndex=handle)
    gpus.read()
    lost.append(True)
    assert gpus.read() == [
        GpuSample(index=0, vendor="NVIDIA", name="NVIDIA H200", problem="GPU is lost")
    ]


def test_a_gpu_that_shares_the_main_memory_is_marked() -> None:
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
    # The fields that are read of what the functions give, each where the bindings have it.
    for structure, fields in (
        ("c_nvmlMemory_v2_t", {"used", "total"}),
        ("c_nvmlMemory_t", {"used", "total"}),
        ("c_nvmlUtilization_t", {"gpu", "memory"}),
        ("c_nvmlProcessInfo_v3_t", {"pid", "usedGpuMemory"}),
        ("c_nvmlProcessInfo_v2_t", {"pid", "usedGpuMemory"}),
        ("c_nvmlProcessUtilizationSample_t", {"pid", "smUtil", "timeStamp"}),
    ):
        assert fields <= {name for name, *_ in getattr(bindings, structure)._fields_}
    assert (bindings.NVML_TEMPERATURE_GPU, bindings.nvmlMemory_v2 & 0xFFFF) == (0, 40)
    for error in (*nvml_module._MESSAGES, *nvml_module._LOST, "NVMLError_NotSupported"):
        assert issubclass(getattr(bindings, error), bindings.NVMLError)
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
