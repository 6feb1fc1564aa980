"""The bottleneck of a run, judged from samples."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.hardware import GpuProcess, GpuSample, HardwareSample, StepDivision
from tui_trainer.hardware.bottleneck import find_bottleneck
from tui_trainer.hardware.peak_flops import peak_flops
from tui_trainer.hardware.recorder import with_division


def division(**changes: Any) -> StepDivision:
    """A step of 100 ms that is compute-bound."""
    values: dict[str, Any] = {
        "step": 10,
        "steps": 4,
        "device": "cpu",
        "step_ms": 100.0,
        "data_ms": 2.0,
        "forward_ms": 40.0,
        "backward_ms": 50.0,
        "optimizer_ms": 6.0,
        "reporting_ms": 2.0,
        "cpu_share": 0.98,
    }
    return StepDivision(**{**values, **changes})


def sample(of: StepDivision | None, **changes: Any) -> HardwareSample:
    return HardwareSample(time=0.0, **{"cpu_percent": 99.0, "run_cpu_percent": 97.0, **changes},
                          division=of)  # fmt: skip


BUSY = {"cpu_percent": 100.0, "run_cpu_percent": 48.0}
GPU = GpuSample(index=0, memory_busy=80.0, memory_run=1)
ON_GPU = {"device": "cuda", "cpu_share": None}


@pytest.mark.parametrize(
    ("steps", "load", "kind", "text"),
    [
        ({}, {}, "compute", "forward, backward and update take 96 % of each step"),
        ({"data_ms": 35.0}, {}, "data", "waiting for data takes 35 % of each step"),
        ({"data_ms": 60.0, "cpu_share": 0.5}, BUSY, "data", "60 %"),
        ({"reporting_ms": 25.0}, {}, "reporting", "writing records takes 25 % of each step"),
        ({"cpu_share": 0.5}, BUSY, "starved", "52 % of the CPUs"),
        ({"cpu_share": 0.97}, BUSY, "compute", "96 %"),  # others are busy, but not in its way
        ({"cpu_share": 0.5}, {"cpu_percent": 50.0, "run_cpu_percent": 49.0}, "compute", ""),
        (ON_GPU | {"utilisation": 0.1}, {"gpus": [GPU]}, "memory", "busy 80 % of the time"),
        (ON_GPU | {"utilisation": 0.5}, {"gpus": [GPU]}, "compute", "50 % of the device's peak"),
        (
            {},
            {"ram_used": 97, "ram_total": 100, "swap_used": 30, "swap_total": 100},
            "memory",
            "RAM is 97 % full",
        ),
    ],
)
def test_each_bottleneck(steps: Any, load: Any, kind: str, text: str) -> None:
    found = find_bottleneck([sample(division(**steps), **load)])
    assert found is not None
    assert (found.kind, text in found.reason) == (kind, True)
    assert found.remedy


def test_a_gpu_with_lowered_clocks_is_named_in_the_remedy() -> None:
    hot = GpuSample(index=0, throttle=["heat (hardware)"])
    found = find_bottleneck([sample(division(**ON_GPU), gpus=[hot])])
    assert found is not None and found.kind == "compute"
    assert "heat (hardware)" in found.remedy


@pytest.mark.parametrize(
    ("own", "other", "kind"), [(True, 48.0, "starved"), (True, 3.0, "compute"), (False, 48.0,
                                                                              "compute")]
)  # fmt: skip
def test_another_process_on_the_runs_gpu(own: bool, other: float, kind: str) -> None:
    """In a container the run's own process cannot be identified, so no other is blamed."""
    processes = [
        GpuProcess(pid=1, utilisation=50.0, run=own),
        GpuProcess(pid=2, utilisation=other),
    ]
    gpu = GpuSample(index=0, utilisation=99.0, processes=processes)
    found = find_bottleneck([sample(division(**ON_GPU), gpus=[gpu])])
    assert found is not None and found.kind == kind
    assert (kind == "starved") == ("48 % of the GPU's time" in found.reason)


def test_without_a_profiled_step_there_is_no_bottleneck() -> None:
    assert find_bottleneck([]) is None
    assert find_bottleneck([sample(None)]) is None


def test_another_process_must_stay_to_count() -> None:
    """One busy sample among four quiet ones is no starvation."""
    late = [sample(division(cpu_share=0.7), cpu_percent=60.0, run_cpu_percent=58.0)] * 4
    found = find_bottleneck([*late, sample(division(cpu_share=0.7), **BUSY)])
    assert found is not None and found.kind == "compute"


NUMBER = st.none() | st.floats(0, 100)


@given(
    st.fixed_dictionaries(
        dict.fromkeys(("cpu_percent", "run_cpu_percent", "load_1m"), NUMBER)
        | {name: st.none() | st.integers(0, 9) for name in ("ram_used", "ram_total", "swap_used",
                                                            "swap_total")}
        | {"gpus": st.lists(st.builds(GpuSample, index=st.just(0), memory_busy=NUMBER,
                                      throttle=st.sampled_from([None, [], ["power cap"]])))}
    ),
    st.fixed_dictionaries({"cpu_share": st.none() | st.floats(0, 1), "data_ms": st.floats(0, 100),
                           "utilisation": st.none() | st.floats(0, 1),
                           "device": st.sampled_from(["cpu", "cuda", "mps"])}),
)  # fmt: skip
def test_whatever_is_missing_a_bottleneck_has_its_texts(load: Any, steps: Any) -> None:
    found = find_bottleneck([sample(division(**steps), **load)])
    assert found is not None
    assert found.label and found.reason and found.remedy
    assert "None" not in found.reason


@pytest.mark.parametrize(
    ("name", "half"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-40GB", 312.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40", None),
        ("NVIDIA A10G", None),
        ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", None),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("", None),
    ],
)
def test_a_peak_is_known_or_not_guessed(name: str, half: float | None) -> None:
    assert peak_flops(name, "bf16") == (None if half is None else half * 1e12)


def test_fp32_is_not_counted_by_the_peak_of_half_precision() -> None:
    assert peak_flops("NVIDIA H200", "fp32") == pytest.approx(66.9e12)


def test_torchs_count_is_used_where_the_driver_does_not_list_the_run() -> None:
    plain = HardwareSample(time=0.0, gpus=[GpuSample(index=0)])
    known = with_division(plain, division(memory_reserved=5))
    assert known.gpus[0].memory_run == 5
    listed = msgspec.structs.replace(plain, gpus=[GpuSample(index=0, memory_run=7)])
    assert with_division(listed, division(memory_reserved=5)).gpus[0].memory_run == 7
    assert with_division(plain, None) == plain
