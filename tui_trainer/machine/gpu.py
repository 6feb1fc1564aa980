"""GPUs through NVIDIA's management library (NVML), each value by itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

from tui_trainer.contracts.hardware import GpuSample

_TEMPERATURE_CORE = 0  # NVML_TEMPERATURE_GPU
_MESSAGES = {
    "NVMLError_LibraryNotFound": "no NVIDIA driver",
    "NVMLError_DriverNotLoaded": "no NVIDIA driver loaded",
    "NVMLError_LibRmVersionMismatch": "NVIDIA driver and library differ in version; reboot",
    "NVMLError_NoPermission": "no permission to ask the NVIDIA driver",
}


class Nvml(Protocol):
    """What is used of the `pynvml` module: functions by their NVML names."""

    NVMLError: type[Exception]

    def __getattr__(self, name: str) -> Any: ...


def load_nvml() -> Nvml:
    """The `pynvml` module. Raises `ImportError` where it is not installed."""
    module: Any = importlib.import_module("pynvml")
    return module  # type: ignore[no-any-return]


class GpuReader:
    """Reads all GPUs. NVML starts with the first reading; nothing here raises.

    `message` says in a few words why there is no GPU, or which one does not answer.
    """

    def __init__(self, load: Callable[[], Nvml] = load_nvml) -> None:
        self._load = load
        self._nvml: Nvml | None = None
        self._started = False
        self.message: str | None = None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """A sample of each GPU; `memory_run` is what the process `run_pid` holds on it."""
        nvml = self._start()
        if nvml is None:
            return []
        try:
            count = int(nvml.nvmlDeviceGetCount())
        except Exception as error:
            self.message = f"the NVIDIA driver does not answer: {describe(error)}"
            return []
        self.message = None if count else "no NVIDIA GPU"
        return [self._read_one(nvml, index, run_pid) for index in range(count)]

    def driver(self) -> str | None:
        """The driver's version, or None without one."""
        nvml = self._start()
        return None if nvml is None else _text(_ask(nvml, "nvmlSystemGetDriverVersion"))

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

    def _read_one(self, nvml: Nvml, index: int, run_pid: int | None) -> GpuSample:
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
        except Exception as error:
            self.message = f"GPU {index} does not answer: {describe(error)}"
            return GpuSample(index=index)
        memory = _ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
        rates = _ask(nvml, "nvmlDeviceGetUtilizationRates", handle)
        power = _number(_ask(nvml, "nvmlDeviceGetPowerUsage", handle))
        limit = _number(_ask(nvml, "nvmlDeviceGetEnforcedPowerLimit", handle))
        return GpuSample(
            index=index,
            name=_text(_ask(nvml, "nvmlDeviceGetName", handle)),
            utilisation=_number(getattr(rates, "gpu", None)),
            memory_used=_whole(getattr(memory, "used", None)),
            memory_total=_whole(getattr(memory, "total", None)),
            memory_run=_memory_of(nvml, handle, run_pid),
            temperature=_number(_ask(nvml, "nvmlDeviceGetTemperature", handle, _TEMPERATURE_CORE)),
            power=None if power is None else power / 1000,  # NVML counts milliwatts
            power_limit=None if limit is None else limit / 1000,
        )


def describe(error: Exception) -> str:
    """An exception in a few words of one line."""
    words = " ".join(str(error).split())
    return words[:80] or type(error).__name__


def _ask(nvml: Nvml, function: str, *arguments: Any) -> Any:
    """The answer of an NVML function, or None where it is absent or fails.

    Old drivers lack functions, MIG and small cards lack sensors, a lost GPU fails everything;
    the bindings raise NVMLError, AttributeError, TypeError and more for these.
    """
    try:
        return getattr(nvml, function)(*arguments)
    except Exception:
        return None


def _memory_of(nvml: Nvml, handle: Any, pid: int | None) -> int | None:
    if pid is None:
        return None
    processes = _ask(nvml, "nvmlDeviceGetComputeRunningProcesses", handle)
    for process in processes or ():
        if getattr(process, "pid", None) == pid:
            return _whole(getattr(process, "usedGpuMemory", None))
    return None


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip() or None if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None
