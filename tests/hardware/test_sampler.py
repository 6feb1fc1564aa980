"""A sample of this computer, and of one on which every reading fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import psutil
import pytest

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.hardware import cgroup, sampler
from tui_trainer.hardware.nvml import Nvml, NvmlGpus
from tui_trainer.hardware.sampler import Sampler
from tui_trainer.hardware.system_info import SystemInfo, cpu_name, system_info


def no_gpus() -> NvmlGpus:
    def load() -> Nvml:
        raise ImportError

    return NvmlGpus(load)


def test_a_sample_of_this_computer(tmp_path: Path) -> None:
    tested = Sampler(os.getpid(), tmp_path / "not" / "there" / "yet", no_gpus())
    first = tested.sample()
    assert first.ram_total is not None and first.ram_used is not None
    assert 0 < first.ram_used <= first.ram_total
    assert first.disk_free is not None and first.disk_free > 0
    assert first.run_rss is not None and first.run_rss > 1 << 20
    assert first.cpu_count is not None and first.cpu_count >= 1
    assert first.gpus == [] and first.gpu_message == "nvidia-ml-py is not installed"
    assert msgspec.json.decode(msgspec.json.encode(first), type=HardwareSample) == first


def test_a_percentage_is_unknown_at_first_rather_than_zero(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(user=10.0, idle=90.0)
    monkeypatch.setattr(cgroup, "cpu_limit", lambda: None)
    monkeypatch.setattr(sampler, "_clocks", lambda _: (clock.user, clock.user + clock.idle))
    tested = Sampler(gpus=no_gpus())
    assert tested.sample().cpu_percent is None
    clock.user, clock.idle = 13.0, 91.0
    assert tested.sample().cpu_percent == pytest.approx(75.0)
    assert tested.sample().cpu_percent == pytest.approx(75.0)  # no time has passed: unchanged


def test_a_container_counts_by_its_own_share(monkeypatch: pytest.MonkeyPatch) -> None:
    now = SimpleNamespace(time=100.0, used=10.0)
    monkeypatch.setattr(sampler, "allowed_cpus", lambda: list(range(64)))
    monkeypatch.setattr(cgroup, "cpu_limit", lambda: cgroup.CpuLimit(4.0, now.used))
    monkeypatch.setattr(time, "monotonic", lambda: now.time)
    tested = Sampler(gpus=no_gpus())
    now.time, now.used = 110.0, 30.0  # 20 of 40 processor seconds
    sample = tested.sample()
    assert sample.cpu_percent == pytest.approx(50.0)
    assert sample.cpu_count == 4


def test_a_container_counts_by_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "memory_limit", lambda: cgroup.MemoryLimit(8000, 5000))
    sample = Sampler(gpus=no_gpus()).sample()
    assert (sample.ram_used, sample.ram_total) == (5000, 8000)


def test_a_run_that_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    sample = Sampler(process.pid, gpus=no_gpus()).sample()
    assert sample.run_rss is None
    assert sample.run_cpu_percent is None


def test_the_run_may_change() -> None:
    tested = Sampler(gpus=no_gpus())
    assert tested.sample().run_rss is None
    tested.run_pid = os.getpid()
    assert tested.sample().run_rss is not None
    tested.run_pid = None
    assert tested.sample().run_rss is None


def test_nothing_that_fails_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    for name in ("virtual_memory", "cpu_times", "disk_usage", "Process", "cpu_count"):
        monkeypatch.setattr(psutil, name, fail)
    monkeypatch.setattr(os, "getloadavg", fail)
    monkeypatch.setattr(cgroup, "cpu_limit", fail)
    sample = Sampler(os.getpid(), gpus=no_gpus()).sample()
    assert (sample.ram_total, sample.cpu_percent, sample.disk_free) == (None, None, None)
    assert (sample.run_rss, sample.load_1m) == (None, None)


def test_facts_of_this_computer(tmp_path: Path) -> None:
    facts = system_info(tmp_path, no_gpus())
    assert facts.packages["numpy"] is not None
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.gpu_message == "nvidia-ml-py is not installed"
    assert facts.disk_path == str(tmp_path)
    assert msgspec.json.decode(msgspec.json.encode(facts), type=SystemInfo) == facts


def test_the_processor_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nmodel name\t: AMD EPYC 9654\nmodel name\t: other\n")
    assert cpu_name(file) == "AMD EPYC 9654"


def test_facts_import_neither_torch_nor_textual() -> None:
    script = (
        "import sys; from tui_trainer.hardware.system_info import system_info; system_info();"
        "sys.exit(any(name in sys.modules for name in ('torch', 'textual', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
