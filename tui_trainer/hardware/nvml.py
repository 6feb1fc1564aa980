"""NVIDIA GPUs, read through NVIDIA's management library (NVML).

Functions, units and bit masks are those of NVIDIA's NVML API reference. Each value is read
separately, so that one that fails does not affect the others.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from tui_trainer.contracts.hardware import GpuProcess, GpuSample, MigSample
from tui_trainer.hardware.driver_values import describe, number, percent, scaled, text, whole

_MESSAGES = {
    "NVMLError_LibraryNotFound": "no NVIDIA driver",
    "NVMLError_DriverNotLoaded": "no NVIDIA driver loaded",
    "NVMLError_LibRmVersionMismatch": "NVIDIA driver and library differ in version; reboot",
    "NVMLError_NoPermission": "no permission to query the NVIDIA driver",
    "NVMLError_FunctionNotFound": "NVIDIA driver too old to be queried",
}
_TEMPERATURE_CORE, _SLOWDOWN = 0, 1  # NVML_TEMPERATURE_GPU, .._THRESHOLD_SLOWDOWN
_CLOCK_SM, _CLOCK_MEMORY = 1, 2
_CORRECTED, _UNCORRECTED, _SINCE_LOADED = 0, 1, 0
# nvmlClocksEventReasons. Idle (0x1) and clocks set by the user (0x2, 0x100) are not listed, as
# they do not slow a run down.
_THROTTLE = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}
_UTILISATION_SECONDS = 2.0  # age of the oldest sample of a process's utilisation that counts
_MEMORY = "nvmlDeviceGetMemoryInfo"
_LOST = ("NVMLError_GpuIsLost", "NVMLError_ResetRequired")


class Nvml(Protocol):
    """The part of the `pynvml` module that is used: functions by their NVML names."""

    NVMLError: type[Exception]

    def __getattr__(self, name: str) -> Any: ...


def load_nvml() -> Nvml:
    """The `pynvml` module. Raises `ImportError` where it is not installed."""
    module: Any = importlib.import_module("pynvml")
    return module  # type: ignore[no-any-return]


class NvmlGpus:
    """NVIDIA's GPUs. NVML is loaded by the first reading; no method raises.

    `message` says why there is no GPU, or which one does not answer.
    """

    def __init__(self, load: Callable[[], Nvml] = load_nvml) -> None:
        self._load = load
        self._nvml: Nvml | None = None
        self._started = False
        self._names: dict[int, str] = {}  # a lost GPU does not return its name
        self.message: str | None = None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """A sample of each GPU; `memory_run` is the memory that process `run_pid` uses on it."""
        nvml = self._start()
        if nvml is None:
            return []
        try:
            count = int(nvml.nvmlDeviceGetCount())
        except Exception as error:
            self.message = f"the NVIDIA driver does not answer: {describe(error)}"
            return []
        self.message = None if count else "no NVIDIA GPU"
        found = [self._named(_sample(nvml, index, run_pid)) for index in range(count)]
        for gpu in found:
            if gpu.problem is not None:
                self.message = f"GPU {gpu.index} does not answer: {gpu.problem}"
        return found

    def _named(self, gpu: GpuSample) -> GpuSample:
        if gpu.name is None and gpu.index in self._names:
            return msgspec.structs.replace(gpu, name=self._names[gpu.index])
        if gpu.name is not None:
            self._names[gpu.index] = gpu.name
        return gpu

    def driver(self) -> str | None:
        """The driver's version, or None without one."""
        nvml = self._start()
        return None if nvml is None else text(_Query(nvml)("nvmlSystemGetDriverVersion"))

    def cuda(self) -> str | None:
        """The newest CUDA that the driver can run, as "12.8", or None."""
        nvml = self._start()
        version = None if nvml is None else whole(_Query(nvml)("nvmlSystemGetCudaDriverVersion"))
        return f"{version // 1000}.{version % 1000 // 10}" if version else None

    def _start(self) -> Nvml | None:
        if self._started:
            return self._nvml
        self._started = True
        try:
            nvml = self._load()
        except Exception:
            self.message = "nvidia-ml-py is not installed"
            return None
        try:
            nvml.nvmlInit()
        except Exception as error:
            self.message = _MESSAGES.get(type(error).__name__, f"no NVIDIA GPU: {describe(error)}")
            return None
        self._nvml = nvml
        return nvml


class _Query:
    """Calls NVML functions; returns None where a function is absent or fails.

    Old drivers lack functions, MIG slices and small cards lack sensors, and on a lost GPU every
    call fails; the bindings raise NVMLError, AttributeError, TypeError and others for these.
    Once a call reported the GPU as lost, `lost` has the reason and no further call is made.
    """

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self.lost: str | None = None
        self.not_offered: set[str] = set()

    def __call__(self, function: str, *arguments: Any) -> Any:
        if self.lost is not None:
            return None
        try:
            return getattr(self._nvml, function)(*arguments)
        except Exception as error:
            if type(error).__name__ in _LOST:
                self.lost = describe(error)
            elif type(error).__name__ == "NVMLError_NotSupported":
                self.not_offered.add(function)
            return None

    def constant(self, name: str) -> Any:
        """A number of the bindings, or None in those that lack it."""
        return getattr(self._nvml, name, None)


def _sample(nvml: Nvml, index: int, run_pid: int | None) -> GpuSample:
    try:
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    except Exception as error:
        return GpuSample(index=index, vendor="NVIDIA", problem=describe(error))
    ask = _Query(nvml)
    name = text(ask("nvmlDeviceGetName", gpu))
    memory = _memory(ask, gpu)
    rates = ask("nvmlDeviceGetUtilizationRates", gpu)
    slices = _slices(ask, gpu)
    processes = _processes(ask, gpu, [handle for _, handle in slices], run_pid)
    temperature = _temperature(ask, gpu)
    used = whole(getattr(memory, "used", None))
    sample = GpuSample(
        index=index,
        vendor="NVIDIA",
        name=name,
        uuid=text(ask("nvmlDeviceGetUUID", gpu)),
        utilisation=percent(getattr(rates, "gpu", None)),
        memory_busy=percent(getattr(rates, "memory", None)),
        memory_used=used,
        memory_total=whole(getattr(memory, "total", None)),
        memory_run=next((p.memory for p in processes or () if p.run), None),
        # NVML has no memory figures for GPUs that share the main memory (Jetson, GB10).
        unified=True if memory is None and _MEMORY in ask.not_offered else None,
        temperature=temperature,
        temperature_limit=_slowdown_temperature(ask, gpu, temperature),
        power=scaled(ask("nvmlDeviceGetPowerUsage", gpu), 1e-3),
        power_limit=scaled(ask("nvmlDeviceGetEnforcedPowerLimit", gpu), 1e-3),
        fan=percent(ask("nvmlDeviceGetFanSpeed", gpu)),
        clock=number(ask("nvmlDeviceGetClockInfo", gpu, _CLOCK_SM)),
        clock_max=number(ask("nvmlDeviceGetMaxClockInfo", gpu, _CLOCK_SM)),
        memory_clock=number(ask("nvmlDeviceGetClockInfo", gpu, _CLOCK_MEMORY)),
        throttle=_throttle(ask, gpu),
        pcie_generation=whole(ask("nvmlDeviceGetCurrPcieLinkGeneration", gpu)),
        pcie_width=whole(ask("nvmlDeviceGetCurrPcieLinkWidth", gpu)),
        pcie_generation_max=whole(ask("nvmlDeviceGetMaxPcieLinkGeneration", gpu)),
        pcie_width_max=whole(ask("nvmlDeviceGetMaxPcieLinkWidth", gpu)),
        ecc_corrected=whole(ask("nvmlDeviceGetTotalEccErrors", gpu, _CORRECTED, _SINCE_LOADED)),
        ecc_uncorrected=whole(ask("nvmlDeviceGetTotalEccErrors", gpu, _UNCORRECTED, _SINCE_LOADED)),
        mig=[_slice(ask, index, handle) for index, handle in slices],
        processes=processes,
    )
    if ask.lost is not None:
        return GpuSample(index=index, vendor="NVIDIA", name=name, problem=ask.lost)
    return sample


def _memory(ask: _Query, gpu: Any) -> Any:
    """Memory as `nvidia-smi` counts it. The older call, for drivers before 510, counts the memory
    reserved by the driver as used."""
    version = ask.constant("nvmlMemory_v2")
    found = None if version is None else ask(_MEMORY, gpu, version)
    return found if found is not None else ask(_MEMORY, gpu)


def _temperature(ask: _Query, gpu: Any) -> float | None:
    """°C; the older of the two functions is removed in CUDA 14."""
    found = number(ask("nvmlDeviceGetTemperature", gpu, _TEMPERATURE_CORE))
    return found if found is not None else number(ask("nvmlDeviceGetTemperatureV", gpu, 0))


def _slowdown_temperature(ask: _Query, gpu: Any, temperature: float | None) -> float | None:
    """°C at which clocks are lowered; newer GPUs return the distance to it instead."""
    found = number(ask("nvmlDeviceGetTemperatureThreshold", gpu, _SLOWDOWN))
    if found is not None or temperature is None:
        return found
    margin = number(ask("nvmlDeviceGetMarginTemperature", gpu))
    return None if margin is None else temperature + margin


def _processes(
    ask: _Query, gpu: Any, slices: Sequence[Any], run_pid: int | None
) -> list[GpuProcess] | None:
    """The processes that compute on a GPU, by memory, largest first; None where the driver does
    not list them. On a GPU divided with MIG it lists them for slices only, unless asked by root."""
    listed = _listed(ask, gpu)
    for slice_ in slices if listed is None else ():
        some = _listed(ask, slice_)
        listed = listed if some is None else [*(listed or ()), *some]
    if listed is None:
        return None
    shares = _utilisation(ask, gpu) if listed else {}
    found = []
    for process in listed:
        pid = whole(getattr(process, "pid", None))
        if pid is not None:
            name = text(ask("nvmlSystemGetProcessName", pid))
            memory = whole(getattr(process, "usedGpuMemory", None))
            found.append(
                GpuProcess(
                    pid=pid,
                    name=name,
                    memory=memory,
                    utilisation=shares.get(pid),
                    run=pid == run_pid,
                )
            )
    return sorted(found, key=lambda process: -(process.memory or 0))


def _listed(ask: _Query, gpu: Any) -> list[Any] | None:
    listed = ask("nvmlDeviceGetComputeRunningProcesses", gpu)
    if listed is None:  # drivers before 510
        listed = ask("nvmlDeviceGetComputeRunningProcesses_v2", gpu)
    return list(listed) if isinstance(listed, list | tuple) else None


def _utilisation(ask: _Query, gpu: Any) -> dict[int, float]:
    """Percent of the time in which each process computed, from its newest sample."""
    since = int((time.time() - _UTILISATION_SECONDS) * 1e6)
    found: dict[int, tuple[float, float]] = {}
    samples = ask("nvmlDeviceGetProcessUtilization", gpu, since)
    for sample in samples if isinstance(samples, list | tuple) else ():
        pid, share = whole(getattr(sample, "pid", None)), percent(getattr(sample, "smUtil", None))
        at = number(getattr(sample, "timeStamp", None)) or 0.0
        if pid is not None and share is not None:
            found[pid] = max(found.get(pid, (-1.0, 0.0)), (at, share))
    return {pid: share for pid, (_, share) in found.items()}


def _throttle(ask: _Query, gpu: Any) -> list[str] | None:
    """Why clocks are lowered; the function was renamed with driver 535."""
    mask = whole(ask("nvmlDeviceGetCurrentClocksEventReasons", gpu))
    if mask is None:
        mask = whole(ask("nvmlDeviceGetCurrentClocksThrottleReasons", gpu))
    return None if mask is None else [word for bit, word in _THROTTLE.items() if mask & bit]


def _slices(ask: _Query, gpu: Any) -> list[tuple[int, Any]]:
    """Index and handle of each MIG slice; empty for a GPU that is not divided."""
    mode = ask("nvmlDeviceGetMigMode", gpu)
    if not isinstance(mode, list | tuple) or not mode or mode[0] != 1:
        return []
    indices = range(min(16, whole(ask("nvmlDeviceGetMaxMigDeviceCount", gpu)) or 0))
    found = [(index, ask("nvmlDeviceGetMigDeviceHandleByIndex", gpu, index)) for index in indices]
    return [(index, handle) for index, handle in found if handle is not None]


def _slice(ask: _Query, index: int, handle: Any) -> MigSample:
    memory = _memory(ask, handle)
    return MigSample(
        index=index,
        name=text(ask("nvmlDeviceGetName", handle)),
        memory_used=whole(getattr(memory, "used", None)),
        memory_total=whole(getattr(memory, "total", None)),
    )
