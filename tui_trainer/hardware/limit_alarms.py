"""Memory, disk and temperature near their limits, and GPUs that are gone: said once when it comes
to that, and once when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tui_trainer.contracts.hardware import GpuSample, HardwareSample
from tui_trainer.text import formats

# Shares from which an alarm is raised and below which it is closed.
RAM_OPENS, RAM_CLOSES = 0.95, 0.90
GPU_OPENS, GPU_CLOSES = 0.98, 0.95
# Bytes free on the disk: raised below the first, closed above the second.
DISK_OPENS, DISK_CLOSES = 1 << 30, 3 << 29
# °C below the temperature at which a GPU slows down.
HEAT_OPENS, HEAT_CLOSES = 3.0, 8.0
# A GPU is gone when so many samples on end say so: a driver that is slow once is none.
GONE_SAMPLES = 2


@dataclass(frozen=True)
class LimitAlarm:
    """`name` is of one thing that may run out; `opens` tells a new alarm from its end."""

    name: str
    opens: bool
    message: str


@dataclass(frozen=True)
class _Reading:
    """How things stand with one of them: near its limit, away from it, or in between. It counts
    once `samples` on end say so; `over` is said when it is away again."""

    name: str
    near: bool
    away: bool
    words: str
    change: str
    samples: int = 1
    over: str = ""


class LimitAlarms:
    """Looks at samples one after the other and tells what changed."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._near: dict[str, int] = {}

    def look(self, sample: HardwareSample) -> list[LimitAlarm]:
        """What the sample raises or closes; a value that is not known does neither."""
        found = []
        for reading in _readings(sample):
            count = self._near.get(reading.name, 0) + 1 if reading.near else 0
            self._near[reading.name] = count
            if count >= reading.samples and reading.name not in self._open:
                self._open.add(reading.name)
                found.append(LimitAlarm(reading.name, True, f"{reading.words}: {reading.change}"))
            elif reading.away and reading.name in self._open:
                self._open.discard(reading.name)
                over = reading.over or f"{reading.words} again"
                found.append(LimitAlarm(reading.name, False, over))
        return found


def _readings(sample: HardwareSample) -> Iterator[_Reading]:
    if sample.ram_used is not None and sample.ram_total:
        share = sample.ram_used / sample.ram_total
        change = (
            "lower training.batch_size or data.max_length, or stop other programs that use memory"
        )
        words = f"RAM is {formats.share(share)} full"
        yield _Reading("ram", share >= RAM_OPENS, share < RAM_CLOSES, words, change)
    if sample.disk_free is not None:
        free = sample.disk_free
        change = "free some space, or keep fewer checkpoints (training.keep_checkpoints)"
        words = f"the disk of the run has {formats.size(free)} free"
        yield _Reading("disk", free < DISK_OPENS, free > DISK_CLOSES, words, change)
    for gpu in sample.gpus:
        yield from _gpu_readings(gpu)


def _gpu_readings(gpu: GpuSample) -> Iterator[_Reading]:
    name = f"GPU {gpu.index}"
    yield _Reading(
        f"gpu{gpu.index}_gone",
        near=gpu.problem is not None,
        away=gpu.problem is None,
        words=f"{name} does not answer: {gpu.problem}",
        change="tui-trainer doctor shows how to repair it",
        samples=GONE_SAMPLES,
        over=f"{name} answers again",
    )
    if gpu.memory_used is not None and gpu.memory_total:
        share = gpu.memory_used / gpu.memory_total
        change = "lower training.batch_size, or stop other programs that use it"
        words = f"the memory of {name} is {formats.share(share)} full"
        yield _Reading(
            f"gpu{gpu.index}_memory", share >= GPU_OPENS, share < GPU_CLOSES, words, change
        )
    if gpu.temperature is not None and gpu.temperature_limit is not None:
        below = gpu.temperature_limit - gpu.temperature
        change = f"it slows down at {gpu.temperature_limit:.0f} °C; check its cooling"
        words = f"{name} is at {gpu.temperature:.0f} °C"
        yield _Reading(
            f"gpu{gpu.index}_heat", below <= HEAT_OPENS, below >= HEAT_CLOSES, words, change
        )
