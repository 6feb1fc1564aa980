"""Facts about this computer, for `doctor`. Imports neither torch nor anything that does."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

import msgspec

from tui_trainer.contracts.hardware import GpuSample
from tui_trainer.hardware import cgroup, pci_cards, sampler
from tui_trainer.hardware.gpu import Gpus, TimedGpus

_TIMEOUT_SECONDS = 15.0  # a driver that is not loaded yet takes some seconds to start

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
    """Facts that do not change while a program runs; None for what is not known."""

    python: str  # version
    python_path: str
    platform: str
    machine: str  # architecture, such as "x86_64"
    cpu_name: str | None
    cpu_count: int | None  # processors that this process may use
    cpu_limit: float | None  # processors whose full time a container allows
    ram_total: int | None  # bytes
    disk_path: str
    disk_free: int | None  # bytes
    gpus: list[GpuSample]
    gpu_cards: list[str]  # vendor of each card on the PCI bus
    gpu_message: str | None  # why there is no GPU
    gpu_driver: str | None  # version
    cuda_version: str | None  # newest that the driver can run
    packages: dict[str, str | None]  # version by name, None where it is not installed


def system_info(disk_path: Path | None = None, gpus: Gpus | None = None) -> SystemInfo:
    """Collects the facts. Never raises.

    Args:
        disk_path: the folder for runs (default: the current one).
        gpus: the GPUs (default: those of all vendors).
    """
    reader = TimedGpus(gpus, _TIMEOUT_SECONDS)
    found = reader.read()
    limit = sampler.none_on_error(cgroup.cpu_limit)
    allowed = sampler.none_on_error(sampler.allowed_cpus)
    return SystemInfo(
        python=platform.python_version(),
        python_path=sys.executable,
        platform=platform.platform(),
        machine=platform.machine(),
        cpu_name=cpu_name(),
        cpu_count=len(allowed) if allowed else None,
        cpu_limit=None if limit is None else limit.cpus,
        ram_total=sampler.none_on_error(sampler.ram_total),
        disk_path=str(disk_path or Path.cwd()),
        disk_free=sampler.none_on_error(lambda: sampler.disk_free(disk_path)),
        gpus=found,
        gpu_cards=pci_cards.installed_cards(),
        gpu_message=reader.message,
        gpu_driver=reader.driver(),
        cuda_version=reader.cuda(),
        packages={name: _version(name) for name in PACKAGES},
    )


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """The processor's name as the operating system gives it."""
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
