"""A sample of what the machine does. A value that cannot be read is `None`, each by itself."""

from __future__ import annotations

import msgspec


class GpuSample(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU: `utilisation` in percent, memory in bytes, `temperature` in °C, power in W."""

    index: int
    name: str | None = None
    utilisation: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    memory_run: int | None = None
    temperature: float | None = None
    power: float | None = None
    power_limit: float | None = None


class HardwareSample(msgspec.Struct, frozen=True, kw_only=True):
    """The whole machine: percent of all cores, memory and disk in bytes.

    `gpus` is empty where there is none; `gpu_message` then says why, in a few words.
    `run_rss` is the resident memory of the training process.
    """

    time: float
    cpu_percent: float | None = None
    cpu_count: int | None = None
    load_1m: float | None = None
    ram_used: int | None = None
    ram_total: int | None = None
    disk_free: int | None = None
    run_rss: int | None = None
    run_cpu_percent: float | None = None
    gpus: list[GpuSample] = msgspec.field(default_factory=list)
    gpu_message: str | None = None
