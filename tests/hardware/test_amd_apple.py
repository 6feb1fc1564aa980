"""AMD's and Apple's GPUs, and all vendors behind one interface.

The shapes are those of `amdsmi` as the registry has it; no answer here was recorded on a card.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.hardware import GpuProcess, GpuSample
from tui_trainer.hardware import amd as amd_module
from tui_trainer.hardware.amd import AmdGpus
from tui_trainer.hardware.apple import AppleGpu
from tui_trainer.hardware.gpu import GpuReader
from tui_trainer.hardware.nvml import NvmlGpus


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


# What amdsmi 7.0.2 of the registry has, by function: the keys of its answer, read off its source.
RECORDED: dict[str, set[str]] = {
    "amdsmi_init": set(),
    "amdsmi_get_processor_handles": set(),
    "amdsmi_get_gpu_asic_info": {"market_name", "vendor_name", "asic_serial"},
    "amdsmi_get_gpu_device_uuid": set(),
    "amdsmi_get_gpu_activity": {"gfx_activity", "umc_activity", "mm_activity"},
    "amdsmi_get_gpu_vram_usage": {"vram_total", "vram_used"},
    "amdsmi_get_power_info": {
        "socket_power", "current_socket_power", "average_socket_power", "power_limit",
    },
    "amdsmi_get_temp_metric": set(),
    "amdsmi_get_clock_info": {"clk", "min_clk", "max_clk"},
    "amdsmi_get_pcie_info": {
        "pcie_static", "max_pcie_width", "max_pcie_speed", "pcie_metric", "pcie_width",
        "pcie_speed",
    },
    "amdsmi_get_gpu_total_ecc_count": {"correctable_count", "uncorrectable_count"},
    "amdsmi_get_gpu_fan_speed": set(),
    "amdsmi_get_gpu_fan_speed_max": set(),
    "amdsmi_get_gpu_process_list": {"name", "pid", "mem", "memory_usage", "vram_mem"},
    "amdsmi_get_gpu_driver_info": {"driver_name", "driver_version", "driver_date"},
}  # fmt: skip
OLDER = {"cur_clk"}  # keys of versions before 6.0


# The fields that each function fills; none of the others goes with it.
FILLS = {
    "amdsmi_get_gpu_asic_info": {"name"},
    "amdsmi_get_gpu_activity": {"utilisation"},
    "amdsmi_get_gpu_vram_usage": {"memory_used", "memory_total"},
    "amdsmi_get_power_info": {"power", "power_limit"},
    "amdsmi_get_temp_metric": {"temperature", "temperature_limit"},
    "amdsmi_get_clock_info": {"clock", "clock_max", "memory_clock"},
    "amdsmi_get_pcie_info": {
        "pcie_generation", "pcie_width", "pcie_generation_max", "pcie_width_max",
    },
    "amdsmi_get_gpu_process_list": {"processes", "memory_run"},
}  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(FILLS)), st.sampled_from(["fails", "N/A", {}, None])))
def test_whatever_is_missing_nothing_else_is(absent: dict[str, Any]) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("AMDSMI_STATUS_NOT_SUPPORTED")

    def answer(value: Any) -> Any:
        return fails if value == "fails" else lambda *_: value

    whole, _ = amd().read(42)
    gpu, _ = amd(**{name: answer(value) for name, value in absent.items()}).read(42)
    gone = {field for function in absent for field in FILLS[function]}
    differing = {
        field
        for field in GpuSample.__struct_fields__
        if getattr(gpu, field) != getattr(whole, field)
    }
    assert differing == gone and all(getattr(gpu, field) is None for field in gone)


def test_every_function_and_key_that_is_used_is_one_of_the_package() -> None:
    """A misspelt one would be taken for a value that the card does not offer."""
    source = Path(amd_module.__file__).read_text(encoding="utf-8")
    functions = set(re.findall(r"\b(amdsmi_[a-z_]+)\b", source))
    assert functions == set(RECORDED)
    called = re.findall(r"_(?:part|first)\(([^()]*(?:\([^()]*\))?[^()]*)\)", source)
    keys = {key for call in called for key in re.findall(r'"([a-z_]+)"', call)}
    known = set().union(*RECORDED.values()) | OLDER | set(RECORDED)
    assert len(keys) > 15 and keys <= known


def test_what_lies_in_video_memory_is_the_runs_share() -> None:
    process = {"pid": 42, "mem": 9 << 30, "memory_usage": {"vram_mem": 5 << 30}}
    first, _ = amd(amdsmi_get_gpu_process_list=lambda _: [process]).read(run_pid=42)
    assert first.memory_run == 5 << 30
    assert first.processes == [GpuProcess(pid=42, memory=5 << 30, run=True)]


def test_temperatures_of_cards_without_a_hotspot_and_of_older_versions() -> None:
    def edge_only(_: Any, sensor: int, what: int) -> int:
        if sensor != 0:
            raise RuntimeError("AMDSMI_STATUS_NOT_SUPPORTED")
        return 64_000 if what == 0 else 100_000

    kinds = SimpleNamespace(HOTSPOT=1, EDGE=0)
    first, _ = amd(AmdSmiTemperatureType=kinds, amdsmi_get_temp_metric=edge_only).read()
    assert (first.temperature, first.temperature_limit) == (64, 100)


def test_a_package_without_its_library_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As amdsmi of the registry behaves where ROCm is not there: it prints, then fails."""
    package = tmp_path / "amdsmi.py"
    package.write_text("print('Unable to find libamd_smi.so')\n{}['libamd_smi.so']\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "amdsmi", raising=False)
    gpus = AmdGpus()
    assert (gpus.read(), gpus.message) == ([], None)
    assert capsys.readouterr().out == ""


def test_apple() -> None:
    (gpu,) = AppleGpu("Darwin", "arm64").read()
    assert (gpu.vendor, gpu.unified, gpu.memory_total) == ("Apple", True, None)
    assert AppleGpu("Linux", "aarch64").read() == []


def no_module() -> Any:
    raise ImportError


@pytest.mark.parametrize("cards", [True, False])
def test_all_vendors_behind_one_interface(cards: bool) -> None:
    """A missing NVIDIA driver is reported only where there are no AMD cards either."""
    reader = GpuReader([NvmlGpus(no_module), amd() if cards else AmdGpus(no_module)])
    assert len(reader.read()) == (2 if cards else 0)
    assert reader.message == (None if cards else "nvidia-ml-py is not installed")
    assert reader.driver() == ("6.12.12" if cards else None)
