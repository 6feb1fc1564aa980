"""Values of the hardware as text, for the hardware page and the dashboard's panel."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from tui_trainer.contracts.hardware import GpuSample
from tui_trainer.text import formats

NO_GPU = "not available"
_TICKS = "▁▂▃▄▅▆▇█"


def ticks(shares: Iterable[float]) -> str:
    """Shares (0..1), a character each."""
    return "".join(_TICKS[min(7, int(max(0.0, share) * 8))] for share in shares)


def gpu_memory(gpu: GpuSample) -> str:
    """Memory used of the total: `41 / 139 GiB`."""
    if gpu.unified and gpu.memory_used is None:
        return "shares RAM"
    if gpu.memory_used is None and gpu.memory_total is not None:
        return f"{formats.MISSING} / {formats.size(gpu.memory_total)}"
    return formats.size_of(gpu.memory_used, gpu.memory_total)


def with_unit(value: float | None, unit: str) -> str:
    """A rounded value: `61 °C`."""
    return formats.MISSING if value is None else f"{formats.count(value)} {unit}"


def no_gpu(label: str, message: str) -> Content:
    """The line that replaces those of the GPUs; `message` is why there are none, if known."""
    reason = f": {message}" if message else ""
    return Content.assemble((label, "$faint"), NO_GPU, (reason, "$faint"))
