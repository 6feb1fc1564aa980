"""What this machine is: for `doctor`. Imports neither torch nor anything that does."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

import msgspec

from tui_trainer.contracts.hardware import GpuSample
from tui_trainer.hardware import cgroup, pci_cards, sampler
from tui_trainer.hardware.gpu import Gpus, TimedGpus

_PATIENCE_SECONDS = 15.0  # a driver that sleeps takes some seconds to start

PACKAGES = (
    "tui-trainer",
    "textual",
    "numpy",
    "msgspec",
    "watchdog",
    "psutil",
    "nvidia-ml-py",
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "pyarrow",
)


class SystemInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that do not change while a program runs; bytes, and None for what is not known.

    `cpu_limit` is a container's share of processors, `gpu_cards` the makers of the cards that
    are plugged in. `packages` has a version per name, None
    for one that is not installed.
    """

    python: str
    python_path: str
    platform: str
    machine: str
    cpu_name: str | None
    cpu_count: int | None
    cpu_limit: float | None
    ram_total: int | None
    disk_path: str
    disk_free: int | None
    gpus: list[GpuSample]
    gpu_cards: list[str]
    gpu_message: str | None
    gpu_driver: str | None
    cuda_version: str | None
    packages: dict[str, str | None]


def machine_facts(disk_path: Path | None = None, gpus: Gpus | None = None) -> SystemInfo:
    """The facts; `disk_path` is where runs would lie (default: here). Never raises."""
    reader = TimedGpus(gpus, _PATIENCE_SECONDS)
    found = reader.read()
    limit = sampler.quiet(cgroup.cpu_limit)
    allowed = sampler.quiet(sampler.allowed_cpus)
    return SystemInfo(
        python=platform.python_version(),
        python_path=sys.executable,
        platform=platform.platform(),
        machine=platform.machine(),
        cpu_name=cpu_name(),
        cpu_count=len(allowed) if allowed else None,
        cpu_limit=None if limit is None else limit.cpus,
        ram_total=sampler.quiet(sampler.ram_total),
        disk_path=str(disk_path or Path.cwd()),
        disk_free=sampler.quiet(lambda: sampler.disk_free(disk_path)),
        gpus=found,
        gpu_cards=pci_cards.plugged_in(),
        gpu_message=reader.message,
        gpu_driver=reader.driver(),
        cuda_version=reader.cuda(),
        packages={name: _version(name) for name in PACKAGES},
    )


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """The processor's name, as the system tells it."""
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model") and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
