"""A container's limits, from files laid out as the kernel does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_trainer.hardware import cgroup


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


def own(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "self-cgroup"
    file.write_text(text)
    return file


def test_version_2_in_a_container(tmp_path: Path) -> None:
    root = lay(
        tmp_path / "fs",
        {
            "memory.max": "8589934592\n",
            "memory.current": "5368709120\n",
            "memory.stat": "anon 1\ninactive_file 1073741824\n",
            "cpu.max": "150000 100000\n",
            "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
        },
    )
    me = own(tmp_path, "0::/docker/abc\n")  # as seen from outside: not mounted inside
    assert cgroup.memory_limit(root, me) == cgroup.MemoryLimit(8 << 30, 4 << 30)
    assert cgroup.cpu_limit(root, me) == cgroup.CpuLimit(1.5, 2.5)


def test_version_2_uses_the_lowest_limit_of_the_groups_above(tmp_path: Path) -> None:
    root = lay(
        tmp_path / "fs",
        {
            "user/memory.max": "4000\n",
            "user/memory.current": "100\n",
            "user/me/memory.max": "max\n",
            "user/me/memory.current": "50\n",
            "user/cpu.max": "max 100000\n",
        },
    )
    me = own(tmp_path, "0::/user/me\n")
    assert cgroup.memory_limit(root, me) == cgroup.MemoryLimit(4000, 100)
    assert cgroup.cpu_limit(root, me) is None


def test_version_1(tmp_path: Path) -> None:
    root = lay(
        tmp_path / "fs",
        {
            "memory/box/memory.limit_in_bytes": "2000\n",
            "memory/box/memory.usage_in_bytes": "900\n",
            "memory/box/memory.stat": "total_inactive_file 300\n",
            "cpu/cpu.cfs_quota_us": "200000\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "cpu/cpuacct.usage": "3000000000\n",
        },
    )
    me = own(tmp_path, "4:memory:/box\n2:cpu,cpuacct:/\n")
    assert cgroup.memory_limit(root, me) == cgroup.MemoryLimit(2000, 600)
    assert cgroup.cpu_limit(root, me) == cgroup.CpuLimit(2.0, 3.0)


def test_version_1_without_limits(tmp_path: Path) -> None:
    root = lay(
        tmp_path / "fs",
        {
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/memory.usage_in_bytes": "900\n",
            "cpu/cpu.cfs_quota_us": "-1\n",
            "cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    me = own(tmp_path, "4:memory:/\n2:cpu:/\n")
    assert cgroup.memory_limit(root, me) is None
    assert cgroup.cpu_limit(root, me) is None


@pytest.mark.parametrize("text", ["", "garbage", "0::/../../etc\n", "x:y\n::\n"])
def test_nothing_readable_is_no_limit(tmp_path: Path, text: str) -> None:
    assert cgroup.memory_limit(tmp_path / "none", own(tmp_path, text)) is None
    assert cgroup.cpu_limit(tmp_path / "none", tmp_path / "absent") is None
