"""AMD's and Apple's GPUs, and all makers behind one interface.

The shapes are those of `amdsmi` as the registry has it; no answer here was recorded on a card.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tui_trainer.machine.amd import AmdGpus
from tui_trainer.machine.apple import AppleGpu
from tui_trainer.machine.gpu import GpuReader
from tui_trainer.machine.nvml import NvmlGpus


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
