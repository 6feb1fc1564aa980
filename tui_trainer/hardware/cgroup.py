"""The limits of a container on memory and processor time (control groups, versions 1 and 2).

In a container the figures of the whole computer mislead: "4 of 512 GiB used" means little where
8 GiB are allowed. A limit that cannot be read counts as absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class MemoryLimit:
    """A limit on memory."""

    total: int  # bytes allowed
    used: int  # bytes used, without the file cache that the kernel can drop


@dataclass(frozen=True)
class CpuLimit:
    """A limit on processor time."""

    cpus: float  # processors whose full time is allowed
    used_seconds: float | None  # processor time used so far


def memory_limit(root: Path = _ROOT, own: Path = _SELF) -> MemoryLimit | None:
    """The lowest memory limit of this process, or None."""
    found: list[MemoryLimit] = []
    for folder in _folders(root, own, "memory"):
        total = _first_int(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _first_int(folder / "memory.current", folder / "memory.usage_in_bytes")
        # Version 1 writes "no limit" as a number near 2**63.
        if total is None or used is None or total >= 1 << 60:
            continue
        cache = _stat(folder / "memory.stat", ("inactive_file", "total_inactive_file")) or 0
        found.append(MemoryLimit(total, max(0, used - cache)))
    return min(found, key=lambda limit: limit.total, default=None)


def cpu_limit(root: Path = _ROOT, own: Path = _SELF) -> CpuLimit | None:
    """The lowest limit on the processor time of this process, or None."""
    found: list[CpuLimit] = []
    for folder in _folders(root, own, "cpu"):
        quota, period = _quota(folder)
        if quota is None or period is None or quota <= 0 or period <= 0:
            continue
        found.append(CpuLimit(quota / period, _used_seconds(folder)))
    return min(found, key=lambda limit: limit.cpus, default=None)


def _quota(folder: Path) -> tuple[int | None, int | None]:
    words = (_read(folder / "cpu.max") or "").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
        return int(words[0]), int(words[1])
    return _first_int(folder / "cpu.cfs_quota_us"), _first_int(folder / "cpu.cfs_period_us")


def _used_seconds(folder: Path) -> float | None:
    micro = _stat(folder / "cpu.stat", ("usage_usec",))
    if micro is not None:
        return micro / 1e6
    nano = _first_int(folder / "cpuacct.usage")  # version 1, where both are in one folder
    return None if nano is None else nano / 1e9


def _folders(root: Path, own: Path, controller: str) -> list[Path]:
    """The folders of this process's group and of the groups above it, for both versions."""
    found: list[Path] = []
    for line in (_read(own) or "").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names == "":
            base = root
        elif controller in names.split(","):
            base = root / controller
        else:
            continue
        # Inside a container the path is often not mounted; the root is then its own group.
        group = base / path.strip("/")
        while group != base and group.is_relative_to(base):
            found.append(group)
            group = group.parent
        found.append(base)
    return found


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None


def _first_int(*files: Path) -> int | None:
    for file in files:
        words = (_read(file) or "").strip()
        if words.isdigit():
            return int(words)
    return None


def _stat(file: Path, names: tuple[str, ...]) -> int | None:
    for line in (_read(file) or "").splitlines():
        name, _, value = line.partition(" ")
        if name in names and value.isdigit():
            return int(value)
    return None
