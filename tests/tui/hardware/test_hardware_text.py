"""The machine in words, for none, one and eight GPUs, and with anything missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.hardware import (
    GpuProcess,
    GpuSample,
    HardwareSample,
    MigSample,
    StepDivision,
)
from tui_trainer.contracts.runs.run import Event, RunState
from tui_trainer.tui.dashboard.hardware_panel import HardwarePanel, hardware_summary
from tui_trainer.tui.dashboard.hardware_warnings import open_warnings, warning_texts
from tui_trainer.tui.hardware import hardware_text
from tui_trainer.tui.hardware.samples import curves_of, extent_of, shown_samples
from tui_trainer.tui.run_charts.viewport import Viewport
from tui_trainer.watch.snapshots import RunSummary, RunView

GIB = 1 << 30
DIVISION = StepDivision(
    step=9, steps=3, device="cuda", step_ms=200.0, data_ms=100.0, forward_ms=40.0,
    backward_ms=50.0, optimizer_ms=6.0, reporting_ms=4.0, tokens_per_second=18_402.0,
    memory_allocated=3 * GIB, memory_reserved=4 * GIB, memory_peak=5 * GIB, utilisation=0.41,
)  # fmt: skip


def gpu(index: int, **changes: Any) -> GpuSample:
    values: dict[str, Any] = {
        "name": "NVIDIA H200",
        "utilisation": 90.0 - index,
        "memory_used": 41 * GIB,
        "memory_total": 139 * GIB,
        "temperature": 60.0 + index,
    }
    return GpuSample(index=index, **{**values, **changes})


def text(*gpus: GpuSample, width: int = 80, **changes: Any) -> str:
    sample = HardwareSample(time=0.0, gpus=list(gpus), **changes)
    return hardware_text.page([sample], width, run_pid=42).plain


def test_no_gpu_is_a_normal_state() -> None:
    messages = text(gpu_message="no NVIDIA driver", cores=[10.0, 95.0])
    assert "GPU     not available: no NVIDIA driver" in messages
    assert "10 %" in messages and "95 %" in messages


def test_one_processor_and_an_unknown_number_of_them() -> None:
    assert "1 processor   " in text(cpu_count=1) and "8 processors   " in text(cpu_count=8)
    assert "– processors   " in text()


def test_the_page_and_the_panel_write_memory_alike() -> None:
    unread = gpu(0, memory_used=None)
    assert "– / 139 GiB" in text(unread)
    assert hardware_summary([HardwareSample(time=0.0, gpus=[unread])]).gpus[0].memory == (
        "– / 139 GiB"
    )


def test_one_gpu_in_a_narrow_terminal_lists_the_hidden_columns() -> None:
    messages = text(gpu(0, clock=1755.0, throttle=["power cap"]), gpu_driver="580.65.06")
    for expected in ("H200", "90 %", "41.0 / 139 GiB", "60 °C", "clock 1,755", "power cap"):
        assert expected in messages
    assert "fan –" in messages and "PCIe –" in messages and "ECC –" in messages
    assert "driver 580.65.06, CUDA –" in messages


@pytest.mark.parametrize("width", [80, 200])
def test_eight_gpus_of_which_one_is_lost_and_one_is_divided(width: int) -> None:
    many = [gpu(n) for n in range(8)]
    many[5] = GpuSample(index=5, name="NVIDIA H200", problem="GPU is lost")
    many[3] = gpu(3, mig=[MigSample(index=1, name="MIG 3g.71gb", memory_total=70 * GIB)])
    messages = text(*many, width=width, gpu_message="GPU 5 does not answer: GPU is lost")
    lines = messages.splitlines()
    assert all(len(line) <= width for line in lines)
    assert sum(line.startswith(f"{n} H200") for n in range(8) for line in lines) == 8
    assert next(line for line in lines if line.startswith("5 H200")).endswith("GPU is lost")
    assert any("└ 1 MIG 3g.71gb" in line for line in lines)


def test_a_lost_gpu_has_the_name_that_it_had() -> None:
    lost = HardwareSample(time=1.0, gpus=[GpuSample(index=0, problem="GPU is lost")])
    messages = hardware_text.page([HardwareSample(time=0.0, gpus=[gpu(0)]), lost], 80).plain
    assert "0 H200" in messages and "GPU is lost" in messages


def test_the_runs_own_process_and_those_of_the_host() -> None:
    here = GpuProcess(pid=42, name="python", memory=38 * GIB, utilisation=97.0)
    recorded = GpuProcess(pid=43, name="python", memory=GIB, run=True)
    messages = text(gpu(0, processes=[here, recorded, GpuProcess(pid=99_999)]))
    assert "38.0 GiB    97 %  ◀ this run  python" in messages
    assert "1.0 GiB       –  ◀ this run  python" in messages
    assert "99999          –       –  unknown (a process" in messages


def test_a_gpu_without_memory_of_its_own() -> None:
    assert "shares RAM" in text(GpuSample(index=0, name="Apple GPU", unified=True))


def test_the_bottleneck_is_first_with_its_numbers() -> None:
    first, second, *rest = text(gpu(0), division=DIVISION).splitlines()
    assert first == "data-bound: waiting for data takes 50 % of each step"
    assert second.startswith("→ put the data on a faster disk")
    messages = "\n".join(rest)
    assert "░ data 50 %" in messages and "MFU 41 %" in messages and "reserved 4.0 GiB" in messages


OPTIONAL = {
    name: st.none() | st.floats(0, 1e12) | st.integers(0, 1 << 50)
    for name in GpuSample.__struct_fields__
    if name not in ("index", "vendor", "name", "uuid", "problem", "unified", "throttle", "mig",
                    "processes")
}  # fmt: skip


NO_VALUE = re.compile("None|nan")  # how Python writes what a page must not show


@given(
    st.lists(
        st.builds(
            GpuSample,
            index=st.integers(0, 9),
            name=st.none() | st.text(max_size=30).filter(lambda name: not NO_VALUE.search(name)),
            problem=st.none() | st.just("GPU is lost"),
            unified=st.none() | st.booleans(),
            throttle=st.none() | st.just(["heat"]),
            **OPTIONAL,
        ),
        max_size=3,
    ),
    st.sampled_from([20, 80, 200]),
)
def test_missing_values_do_not_break_the_page(gpus: Any, width: int) -> None:
    sample = HardwareSample(time=0.0, gpus=gpus)
    messages = hardware_text.page([sample], width).plain
    assert not NO_VALUE.search(messages)
    assert curves_of([sample])
    facts = hardware_summary([sample])
    for height in (1, 9):
        assert HardwarePanel().draw(facts, max(width, 38), height).plain


def run(tmp_path: Path, status: Any, *times: float) -> RunView:
    samples = tuple(HardwareSample(time=time, cpu_percent=1.0) for time in times)
    summary = RunSummary(path=tmp_path, id="small", kind="run", name="small", status=status)
    return RunView(summary, hardware=samples, state=RunState(state=status, host="elsewhere"))


def test_whose_samples_are_shown(tmp_path: Path) -> None:
    live = [HardwareSample(time=time, cpu_percent=9.0) for time in (2.0, 3.0)]
    ended = shown_samples(live, run(tmp_path, "completed", 1.0), here=False)
    assert ([s.time for s in ended[0]], ended[1]) == ([1.0], "recorded by small")
    remote = shown_samples(live, run(tmp_path, "training", 1.0), here=False)
    assert remote[1] == "recorded by small on elsewhere"
    here = shown_samples(live, run(tmp_path, "training", 1.0, 2.0), here=True)
    assert ([s.time for s in here[0]], here[1]) == ([1.0, 2.0, 3.0], "")
    assert shown_samples(live, run(tmp_path, "completed"), here=False) == (tuple(live), "")


def test_the_curves_have_the_zoom_of_the_charts() -> None:
    samples = [HardwareSample(time=float(t), cpu_percent=t / 2) for t in range(0, 161, 2)]
    whole = extent_of(samples)
    assert whole == (0.0, 160.0)
    assert curves_of(samples)[0].x_range is None
    near = Viewport(40.0)
    assert curves_of(samples, near)[0].x_range == (120.0, 160.0)  # follows the newest
    assert curves_of(samples, near.panned(-1, whole))[0].x_range == (110.0, 150.0)
    assert curves_of(samples[:1], near)[0].x_range is None
    assert curves_of(samples)[0].title == "CPU 80 %"


def test_the_curves_of_many_gpus_are_titled_from_the_lowest_to_the_highest() -> None:
    many = [gpu(n, power=400.0 if n else None) for n in range(3)]
    titles = [spec.title for spec in curves_of([HardwareSample(time=0.0, gpus=many)])]
    assert titles == [
        "GPU 88–90 %",
        "CPU –",
        "GPU memory 29.5 %",
        "GPU temperature 60–62 °C",
        "GPU power 400 W",
        "GPU clock –",
        "RAM –",
        "disk –",
        "network –",
    ]


def test_many_gpus_take_a_line_each_beside_the_charts() -> None:
    many = [gpu(n) for n in range(7)] + [GpuSample(index=7, name="H200", problem="GPU is lost")]
    facts = hardware_summary([HardwareSample(time=0.0, gpus=many, division=DIVISION)])
    lines = HardwarePanel().draw(facts, 44, 30).plain.splitlines()
    assert len([line for line in lines if line.startswith("GPU")]) == 8
    assert lines[-1].startswith("GPU7  GPU is lost")
    assert lines[0].startswith("hardware  data-bound") and lines[0].endswith("h more")
    recorded = hardware_summary([HardwareSample(time=0.0, division=DIVISION)], "recorded by small")
    first, *_ = HardwarePanel().draw(recorded, 44, 30).plain.splitlines()
    assert first.startswith("hardware  recorded, data-bound")


def test_warnings_close_with_their_engine_and_yield_to_advice_on_memory(
    tmp_path: Path,
) -> None:
    def event(kind: str, **detail: Any) -> Event:
        return Event(time=0.0, step=7, kind=kind, message="RAM is 96 % full", detail=detail)

    ram = event("warning", alarm="ram", open=True)
    heat = event("warning", alarm="gpu0_heat", open=True)
    assert open_warnings([ram, heat, event("warning", alarm="ram", open=False)]) == (heat,)
    assert open_warnings([ram, event("state", state="preparing"), heat]) == (heat,)
    assert open_warnings([event("warning"), event("warning", alarm=3, open=True)]) == ()
    working, ended = (run(tmp_path, status) for status in ("training", "completed"))
    both = warning_texts(working, (ram, heat), frozenset(), memory_advised=False)
    assert [messages.kind for messages in both] == ["GPU 0 heat", "memory"]
    some = warning_texts(working, (ram, heat), frozenset({"gpu0_heat"}), memory_advised=True)
    assert some == warning_texts(ended, (ram, heat), frozenset(), memory_advised=False) == ()
