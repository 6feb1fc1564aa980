"""Alarms for memory, disk and temperature near their limits and for GPUs that do not answer:
reported once when the condition appears and once when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tui_trainer.contracts.hardware import GpuSample, HardwareSample
from tui_trainer.text import formats

# Shares in use: an alarm is raised from the first on and closed below the second.
RAM_OPENS, RAM_CLOSES = 0.95, 0.90
GPU_OPENS, GPU_CLOSES = 0.98, 0.95
# Bytes free on the disk: an alarm is raised below the first and closed above the second.
DISK_OPENS, DISK_CLOSES = 1 << 30, 3 << 29
# °C below the temperature at which a GPU slows down: raised up to the first, closed from the
# second on.
HEAT_OPENS, HEAT_CLOSES = 3.0, 8.0
# Consecutive samples without an answer after which a GPU counts as gone: a driver may be slow once.
GONE_SAMPLES = 2


@dataclass(frozen=True)
class LimitAlarm:
    """The beginning or the end of an alarm."""

    name: str  # id of what is near its limit, such as "ram" or "gpu0_heat"
    opens: bool  # False where the alarm ends
    message: str


@dataclass(frozen=True)
class _Measurement:
    """One quantity of a sample: near its limit, away from it, or in between."""

    name: str
    near: bool
    away: bool
    description: str
    remedy: str
    samples: int = 1  # consecutive samples near the limit that raise the alarm
    end_message: str = ""  # default: the description and "again"


class LimitAlarms:
    """Checks samples one after the other and reports alarms that begin or end."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._near: dict[str, int] = {}

    def check(self, sample: HardwareSample) -> list[LimitAlarm]:
        """The alarms that the sample raises or closes; an unknown value does neither."""
        found = []
        for measured in _measurements(sample):
            count = self._near.get(measured.name, 0) + 1 if measured.near else 0
            self._near[measured.name] = count
            if count >= measured.samples and measured.name not in self._open:
                self._open.add(measured.name)
                found.append(
                    LimitAlarm(measured.name, True, f"{measured.description}: {measured.remedy}")
                )
            elif measured.away and measured.name in self._open:
                self._open.discard(measured.name)
                end_message = measured.end_message or f"{measured.description} again"
                found.append(LimitAlarm(measured.name, False, end_message))
        return found


def _measurements(sample: HardwareSample) -> Iterator[_Measurement]:
    if sample.ram_used is not None and sample.ram_total:
        share = sample.ram_used / sample.ram_total
        remedy = (
            "lower training.batch_size or data.max_length, or stop other programs that use memory"
        )
        description = f"RAM is {formats.share(share)} full"
        yield _Measurement("ram", share >= RAM_OPENS, share < RAM_CLOSES, description, remedy)
    if sample.disk_free is not None:
        free = sample.disk_free
        remedy = "free some space, or keep fewer checkpoints (training.keep_checkpoints)"
        description = f"the disk of the run has {formats.size(free)} free"
        yield _Measurement("disk", free < DISK_OPENS, free > DISK_CLOSES, description, remedy)
    for gpu in sample.gpus:
        yield from _gpu_measurements(gpu)


def _gpu_measurements(gpu: GpuSample) -> Iterator[_Measurement]:
    name = f"GPU {gpu.index}"
    yield _Measurement(
        f"gpu{gpu.index}_gone",
        near=gpu.problem is not None,
        away=gpu.problem is None,
        description=f"{name} does not answer: {gpu.problem}",
        remedy="tui-trainer doctor shows how to repair it",
        samples=GONE_SAMPLES,
        end_message=f"{name} answers again",
    )
    if gpu.memory_used is not None and gpu.memory_total:
        share = gpu.memory_used / gpu.memory_total
        remedy = "lower training.batch_size, or stop other programs that use it"
        description = f"the memory of {name} is {formats.share(share)} full"
        yield _Measurement(
            f"gpu{gpu.index}_memory", share >= GPU_OPENS, share < GPU_CLOSES, description, remedy
        )
    if gpu.temperature is not None and gpu.temperature_limit is not None:
        below = gpu.temperature_limit - gpu.temperature
        remedy = f"it slows down at {formats.count(gpu.temperature_limit)} °C; check its cooling"
        description = f"{name} is at {formats.count(gpu.temperature)} °C"
        yield _Measurement(
            f"gpu{gpu.index}_heat", below <= HEAT_OPENS, below >= HEAT_CLOSES, description, remedy
        )
