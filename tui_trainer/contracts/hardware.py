"""A sample of what the machine does. A value that cannot be read is `None`, each by itself.

Fields at their default are left out of `hardware.jsonl`.
"""

from __future__ import annotations

import msgspec


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process on a GPU: `memory` in bytes, `utilisation` the percent of time in which it
    computed, `run` whether it is the run's own. `name` is None where the process is not seen
    from here, as from inside a container."""

    pid: int
    name: str | None = None
    memory: int | None = None
    utilisation: float | None = None
    run: bool = False


class MigSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A slice of a GPU that is divided into several (MIG); memory in bytes."""

    index: int
    name: str | None = None
    memory_used: int | None = None
    memory_total: int | None = None


class GpuSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One GPU: `utilisation` in percent, memory in bytes, temperatures in °C, power in W.

    `memory_run` is what the run's process holds. `memory_busy` is the percent of time in which
    memory was read or written, `fan` percent of full speed, clocks in MHz, ECC errors since the
    driver was loaded. `throttle` has the reasons for which clocks are held down, empty for
    none. `unified` tells a GPU without memory of its own. `problem` says in a few words why
    nothing else is known, as of a GPU that is lost.
    """

    index: int
    vendor: str | None = None
    name: str | None = None
    uuid: str | None = None
    problem: str | None = None
    utilisation: float | None = None
    memory_busy: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    memory_run: int | None = None
    unified: bool | None = None
    temperature: float | None = None
    temperature_limit: float | None = None
    power: float | None = None
    power_limit: float | None = None
    fan: float | None = None
    clock: float | None = None
    clock_max: float | None = None
    memory_clock: float | None = None
    throttle: list[str] | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    pcie_generation_max: int | None = None
    pcie_width_max: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    mig: list[MigSample] = msgspec.field(default_factory=list)
    processes: list[GpuProcess] | None = None


class StepDivision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the sampled ones of the latest optimizer steps divide, as the engine measures it.

    Means of `steps` sampled steps up to `step`, in milliseconds, over all forward passes of a
    step; `data_ms` is waiting for batches, `optimizer_ms` clipping and update, `reporting_ms`
    writing records. `cpu_share` is the share (0..1) of forward, backward and optimizer during
    which the training thread had a processor. Memory in bytes, the device's as torch counts it:
    `allocated` in tensors, `reserved` from the driver, `peak` the most allocated. `flops` is
    model arithmetic per second, and `utilisation` (MFU, 0..1) its share of `peak_flops`.
    """

    step: int
    steps: int
    device: str
    step_ms: float
    data_ms: float
    forward_ms: float
    backward_ms: float
    optimizer_ms: float
    reporting_ms: float
    cpu_share: float | None = None
    tokens_per_second: float | None = None
    memory_allocated: int | None = None
    memory_reserved: int | None = None
    memory_peak: int | None = None
    flops: float | None = None
    peak_flops: float | None = None
    utilisation: float | None = None


class HardwareSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole machine: percent of all cores, memory and disk in bytes, rates in bytes/s.

    `gpus` is empty where there is none; `gpu_message` then says why, in a few words, as it does
    where a GPU or its driver does not answer. `cores` has the percent of each processor that
    may be used. `run_rss` is the resident memory of the training process and `run_write` what
    it writes; `disk_write` and the network's rates are the machine's. `division` comes from
    the engine alone.
    """

    time: float
    cpu_percent: float | None = None
    cpu_count: int | None = None
    cores: list[float] | None = None
    load_1m: float | None = None
    ram_used: int | None = None
    ram_total: int | None = None
    swap_used: int | None = None
    swap_total: int | None = None
    disk_free: int | None = None
    disk_total: int | None = None
    disk_write: float | None = None
    network_received: float | None = None
    network_sent: float | None = None
    run_rss: int | None = None
    run_threads: int | None = None
    run_cpu_percent: float | None = None
    run_write: float | None = None
    gpus: list[GpuSample] = msgspec.field(default_factory=list)
    gpu_message: str | None = None
    gpu_driver: str | None = None
    cuda_version: str | None = None
    division: StepDivision | None = None
