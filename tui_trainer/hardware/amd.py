"""AMD GPUs, read through `amdsmi`, which comes with ROCm.

Functions, keys and units are those of the AMD SMI Python API reference: video memory in MiB,
power in W, PCIe speed in MT/s. A value that a card does not offer is "N/A". Each value is read
separately, so that one that fails does not affect the others.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Callable, Mapping
from typing import Any

from tui_trainer.contracts.hardware import GpuProcess, GpuSample
from tui_trainer.hardware.driver_values import describe, number, percent, scaled, text, whole

_MIB = 1 << 20
_UNKNOWN = float((1 << 32) - 1)
# PCIe generation by transfer rate in MT/s.
_GENERATIONS = {2500: 1, 5000: 2, 8000: 3, 16000: 4, 32000: 5, 64000: 6}


def load_amd() -> Any:
    """The `amdsmi` module. Raises where it is not installed or does not find ROCm's library. What
    it prints to standard output then is discarded."""
    if importlib.util.find_spec("amdsmi") is None:
        raise ImportError("amdsmi")
    with contextlib.redirect_stdout(io.StringIO()):
        return importlib.import_module("amdsmi")


class AmdGpus:
    """AMD's GPUs. The library is loaded by the first reading; no method raises."""

    def __init__(self, load: Callable[[], Any] = load_amd) -> None:
        self._load = load
        self._smi: Any = None
        self._started = False
        self.message: str | None = None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """A sample of each GPU; `memory_run` is the memory that process `run_pid` uses on it."""
        smi = self._start()
        if smi is None:
            return []
        try:
            gpus = list(smi.amdsmi_get_processor_handles())
        except Exception as error:
            self.message = f"the AMD driver does not answer: {describe(error)}"
            return []
        self.message = None if gpus else "no AMD GPU"
        return [_sample(smi, index, gpu, run_pid) for index, gpu in enumerate(gpus)]

    def driver(self) -> str | None:
        """The driver's version, or None without one."""
        smi = self._start()
        try:
            first = smi.amdsmi_get_processor_handles()[0]
            return text(_part(smi.amdsmi_get_gpu_driver_info(first), "driver_version"))
        except Exception:
            return None

    def cuda(self) -> str | None:
        """None: there is no CUDA here."""
        return None

    def _start(self) -> Any:
        if not self._started:
            self._started = True
            try:
                smi = self._load()
            except Exception:  # absent on nearly every computer, so no message
                return None
            try:
                smi.amdsmi_init()
            except Exception as error:
                self.message = f"no AMD GPU: {describe(error)}"
                return None
            self._smi = smi
        return self._smi


def _sample(smi: Any, index: int, gpu: Any, run_pid: int | None) -> GpuSample:
    def ask(function: str, *arguments: Any) -> Any:
        try:
            return getattr(smi, function)(gpu, *arguments)
        except Exception:  # as in nvml.py: a value that cannot be read is None
            return None

    def constant(kind: str, name: str) -> Any:
        return getattr(getattr(smi, kind, None), name, None)

    vram = ask("amdsmi_get_gpu_vram_usage")
    power = ask("amdsmi_get_power_info")
    clock = ask("amdsmi_get_clock_info", constant("AmdSmiClkType", "GFX"))
    memory_clock = ask("amdsmi_get_clock_info", constant("AmdSmiClkType", "MEM"))
    activity = ask("amdsmi_get_gpu_activity")
    ecc = ask("amdsmi_get_gpu_total_ecc_count")
    link = ask("amdsmi_get_pcie_info")
    now, most = _part(link, "pcie_metric"), _part(link, "pcie_static")
    fan, fastest = (
        number(ask("amdsmi_get_gpu_fan_speed", 0)),
        number(ask("amdsmi_get_gpu_fan_speed_max", 0)),
    )
    processes = _processes(ask("amdsmi_get_gpu_process_list"), run_pid)
    return GpuSample(
        index=index,
        vendor="AMD",
        name=text(_part(ask("amdsmi_get_gpu_asic_info"), "market_name")),
        uuid=text(ask("amdsmi_get_gpu_device_uuid")),
        utilisation=percent(_part(activity, "gfx_activity")),
        memory_busy=percent(_part(activity, "umc_activity")),
        memory_used=whole(scaled(_part(vram, "vram_used"), _MIB)),
        memory_total=whole(scaled(_part(vram, "vram_total"), _MIB)),
        memory_run=next((p.memory for p in processes or () if p.run), None),
        temperature=_degrees(ask, constant, "CURRENT"),
        temperature_limit=_degrees(ask, constant, "CRITICAL"),
        power=_first(power, "socket_power", "current_socket_power", "average_socket_power"),
        power_limit=_watts(_first(power, "power_limit")),
        fan=percent(100 * fan / fastest) if fan is not None and fastest else None,
        clock=_first(clock, "clk", "cur_clk"),
        clock_max=_first(clock, "max_clk"),
        memory_clock=_first(memory_clock, "clk", "cur_clk"),
        pcie_generation=_GENERATIONS.get(whole(_part(now, "pcie_speed")) or 0),
        pcie_width=whole(_part(now, "pcie_width")),
        pcie_generation_max=_GENERATIONS.get(whole(_part(most, "max_pcie_speed")) or 0),
        pcie_width_max=whole(_part(most, "max_pcie_width")),
        ecc_corrected=whole(_part(ecc, "correctable_count")),
        ecc_uncorrected=whole(_part(ecc, "uncorrectable_count")),
        processes=processes,
    )


def _part(answer: Any, key: str) -> Any:
    return answer.get(key) if isinstance(answer, Mapping) else None


def _first(answer: Any, *keys: str) -> float | None:
    """The value of the first key that has a number: names changed between versions. A value with
    all bits set is unknown."""
    found = (number(_part(answer, key)) for key in keys)
    return next((value for value in found if value not in (None, _UNKNOWN)), None)


def _watts(value: float | None) -> float | None:
    """Watts; some versions give the limit in microwatts."""
    return value / 1e6 if value is not None and value > 1e5 else value


def _degrees(
    ask: Callable[..., Any], constant: Callable[[str, str], Any], metric: str
) -> float | None:
    """°C at the hottest sensor that the card has."""
    for sensor in ("HOTSPOT", "EDGE"):
        kinds = ("AmdSmiTemperatureType", sensor), ("AmdSmiTemperatureMetric", metric)
        found = number(ask("amdsmi_get_temp_metric", *(constant(*kind) for kind in kinds)))
        if found is not None:
            return found / 1000 if found > 1000 else found  # older versions: thousandths
    return None


def _processes(listed: Any, run_pid: int | None) -> list[GpuProcess] | None:
    """The processes on a GPU, the largest first."""
    if not isinstance(listed, list | tuple):
        return None
    found = []
    for process in listed:
        pid = whole(_part(process, "pid"))
        if pid is not None:
            # In some versions `mem` includes memory in RAM.
            video = whole(_part(_part(process, "memory_usage"), "vram_mem"))
            memory = video or whole(_part(process, "mem"))
            name = text(_part(process, "name"))
            found.append(GpuProcess(pid=pid, name=name, memory=memory, run=pid == run_pid))
    return sorted(found, key=lambda process: -(process.memory or 0))
