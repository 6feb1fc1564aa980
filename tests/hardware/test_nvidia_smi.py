"""The comparison with nvidia-smi, on text in its documented form, for machines without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.benchmarks.hardware import gpu, smi
from tui_trainer.contracts.hardware import GpuSample
from tui_trainer.hardware.nvml import NvmlGpus

MIB = 1 << 20
ROW = (
    "NVIDIA H100 80GB HBM3, GPU-0a1b, 97, 55, 41984, 81559, 61, 26, 612.35, 700.00, [N/A], 1755, "
    "1980, 2619, 0x0000000000000004, 5, 16, 5, 16, 0, 0"
)
OURS = GpuSample(
    index=0, name="NVIDIA H100 80GB HBM3", uuid="GPU-0a1b", utilisation=96.0, memory_busy=54.0,
    memory_used=41_984 * MIB, memory_total=81_559 * MIB, temperature=61.0,
    temperature_limit=87.0, power=611.0, power_limit=700.0, clock=1755.0, clock_max=1980.0,
    memory_clock=2619.0, throttle=["power cap"], pcie_generation=5, pcie_width=16,
    pcie_generation_max=5, pcie_width_max=16, ecc_corrected=0, ecc_uncorrected=0,
)  # fmt: skip


def asked(*answers: str) -> tuple[smi.Smi, list[Sequence[str]]]:
    """An nvidia-smi that gives these answers, and what it was asked."""
    commands: list[Sequence[str]] = []
    left = iter(answers)

    def run(command: Sequence[str]) -> str:
        commands.append(command)
        return next(left)

    return smi.Smi(run), commands


def seen(ours: GpuSample, row: str = ROW) -> dict[str, str]:
    found: dict[str, smi.Seen] = {}
    (theirs,) = asked(row)[0].gpus()
    smi.compare(found, ours, theirs, ours)
    return {name: entry.verdict for name, entry in found.items()}


def test_a_gpu_that_reads_alike() -> None:
    verdicts = seen(OURS)
    assert set(verdicts) == {field.ours for field in smi.FIELDS}
    assert verdicts.pop("fan") == "n/a to both"
    assert set(verdicts.values()) == {"same"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "NVIDIA H200"}, {"memory_used": 49_984 * MIB}, {"power": 0.6}, {"fan": 0.0},
        {"pcie_width": 8}, {"temperature": None}, {"temperature_limit": 95.0},
        {"throttle": ["power brake", "sync boost"]},
        {"ecc_corrected": 1}, {"clock_max": 1979.0},
    ],
)  # fmt: skip
def test_a_field_that_reads_otherwise_is_named(wrong: dict[str, Any]) -> None:
    verdicts = seen(msgspec.structs.replace(OURS, **wrong))
    differing = {name for name, verdict in verdicts.items() if "DIFFERS" in verdict}
    assert differing == set(wrong)


def test_every_field_of_a_gpu_is_compared() -> None:
    """What nvidia-smi has no single word for is compared, or shown, elsewhere."""
    elsewhere = {
        "index", "vendor", "problem", "memory_run", "unified", "mig", "processes",
    }  # fmt: skip
    assert {field.ours for field in smi.FIELDS} == set(GpuSample.__struct_fields__) - elsewhere


def test_fields_that_an_older_nvidia_smi_does_not_know() -> None:
    refuses = 'Field "{}" is not a valid field to query.\n\n'
    names = [field.ours for field in smi.FIELDS]
    without_fan = [word for name, word in zip(names, ROW.split(", "), strict=True) if name != "fan"]
    tool, commands = asked(
        refuses.format("clocks_event_reasons.active"),
        refuses.format("fan.speed"),
        ", ".join(without_fan),
    )
    (theirs,) = tool.gpus()
    assert theirs["throttle"] == ["power cap"] and "fan" not in theirs
    assert "clocks_throttle_reasons.active" in commands[-1][1]
    found: dict[str, smi.Seen] = {}
    smi.compare(found, OURS, theirs, OURS)
    assert found["fan"].verdict == "nvidia-smi does not know it"


def test_an_older_gpu_whose_limit_nvidia_smi_does_not_report() -> None:
    row = ROW.replace("61, 26,", "61, [N/A],")
    assert seen(OURS, row)["temperature_limit"] == "nvidia-smi does not know it"


def test_output_that_is_not_a_table_is_reported() -> None:
    with pytest.raises(ValueError, match="couldn't communicate"):
        asked("NVIDIA-SMI has failed because it couldn't communicate with the driver.")[0].gpus()


def test_processes_and_versions() -> None:
    assert asked("4242, 38912\n77, [N/A]\n")[0].processes() == {4242: 38_912 * MIB, 77: None}
    assert asked("No running processes found\n")[0].processes() == {}
    head = "| NVIDIA-SMI 580.65.06    Driver Version: 580.65.06    CUDA Version: 13.0     |"
    assert asked(head)[0].versions() == ("580.65.06", "13.0")


def test_without_a_gpu_there_is_a_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_bindings() -> Any:
        raise ImportError

    monkeypatch.setattr(gpu, "NvmlGpus", lambda: NvmlGpus(no_bindings))
    assert gpu.check(1, "builtin", False) == gpu.NOT_AVAILABLE
    printed = capsys.readouterr()
    assert printed.err == "not available: nvidia-ml-py is not installed; nothing was compared\n"
    assert printed.out == ""
