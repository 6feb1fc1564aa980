"""Free memory, within a container's limit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tui_trainer.hardware import cgroup, memory


@pytest.mark.parametrize(
    ("limit", "with_swap", "expected"),
    [
        (None, False, 100),
        (None, True, 130),
        (cgroup.MemoryLimit(total=60, used=20), True, 40),
        (cgroup.MemoryLimit(total=500, used=20), False, 100),
    ],
)
def test_what_is_free(
    limit: cgroup.MemoryLimit | None,
    with_swap: bool,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=100))
    monkeypatch.setattr("psutil.swap_memory", lambda: SimpleNamespace(free=30))
    monkeypatch.setattr(cgroup, "memory_limit", lambda: limit)
    assert memory.free_bytes(with_swap=with_swap) == expected
