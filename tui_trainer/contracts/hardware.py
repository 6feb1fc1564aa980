"""A sample of what the machine does. A value that cannot be read is `None`, each by itself.

Fields at their default are left out of `hardware.jsonl`.
"""

from __future__ import annotations

import msgspec


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process on a GPU: `memory` in bytes, `utilisation` the percent of time in which it
    computed, `run` whether it is the run's own. `name` is None where the process is not seen
    from here, as from inside a container."""

    pid: int  # process id
    name: str | None = None  # of its program
    memory: int | None = None  # bytes on the GPU
    utilisation: float | None = None  # percent of time
    run: bool = False  # whether it is the run's own


class MigSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A slice of a GPU that is divided into several (MIG); memory in bytes."""

    index: int  # of the slice, from 0
    name: str | None = None  # of its profile
    memory_used: int | None = None  # bytes
    memory_total: int | None = None  # bytes


class GpuSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One GPU: `utilisation` in percent, memory in bytes, temperatures in °C, power in W.

    `memory_run` is what the run's process holds. `memory_busy` is the percent of time in which
    memory was read or written, `fan` percent of full speed, clocks in MHz, ECC errors since the
    driver was loaded. `throttle` has the reasons for which clocks are held down, empty for
    none. `unified` tells a GPU without memory of its own. `problem` says in a few words why
    nothing else is known, as of a GPU that is lost.
    """

    index: int  # of the GPU, from 0
    vendor: str | None = None  # who made it
    name: str | None = None  # of the model
    uuid: str | None = None  # unique id
    problem: str | None = None  # why nothing else is known
    utilisation: float | None = None  # percent of time
    memory_busy: float | None = None  # percent of time
    memory_used: int | None = None  # bytes, of all processes
    memory_total: int | None = None  # bytes
    memory_run: int | None = None  # bytes, of the run's process
    unified: bool | None = None  # whether it shares the system's memory
    temperature: float | None = None  # °C
    temperature_limit: float | None = None  # °C, at which it slows down
    power: float | None = None  # W
    power_limit: float | None = None  # W
    fan: float | None = None  # percent of full speed
    clock: float | None = None  # MHz
    clock_max: float | None = None  # MHz
    memory_clock: float | None = None  # MHz
    throttle: list[str] | None = None  # reasons for lowered clocks
    pcie_generation: int | None = None  # of the link now
    pcie_width: int | None = None  # lanes in use
    pcie_generation_max: int | None = None  # of the link at most
    pcie_width_max: int | None = None  # lanes at most
    ecc_corrected: int | None = None  # errors since the driver was loaded
    ecc_uncorrected: int | None = None  # errors since the driver was loaded
    mig: list[MigSample] = msgspec.field(default_factory=list)  # its slices
    processes: list[GpuProcess] | None = None  # that use it; None where unknown


class StepDivision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the sampled ones of the latest optimizer steps divide, as the engine measures it.

    Means of `steps` sampled steps up to `step`, in milliseconds, over all forward passes of a
    step; `data_ms` is waiting for batches, `optimizer_ms` clipping and update, `reporting_ms`
    writing records. `cpu_share` is the share (0..1) of forward, backward and optimizer during
    which the training thread had a processor. Memory in bytes, the device's as torch counts it:
    `allocated` in tensors, `reserved` from the driver, `peak` the most allocated. `flops` is
    model arithmetic per second, and `utilisation` (MFU, 0..1) its share of `peak_flops`.
    """

    step: int  # newest sampled step
    steps: int  # how many were sampled
    device: str  # that computes, as torch names it
    step_ms: float  # whole step, milliseconds
    data_ms: float  # waiting for batches, milliseconds
    forward_ms: float  # milliseconds
    backward_ms: float  # milliseconds
    optimizer_ms: float  # clipping and update, milliseconds
    reporting_ms: float  # writing records, milliseconds
    cpu_share: float | None = None  # 0..1
    tokens_per_second: float | None = None  # without padding
    memory_allocated: int | None = None  # bytes
    memory_reserved: int | None = None  # bytes
    memory_peak: int | None = None  # bytes
    flops: float | None = None  # operations per second
    peak_flops: float | None = None  # of the device, operations per second
    utilisation: float | None = None  # `flops` / `peak_flops` (0..1)


class HardwareSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole machine: percent of all cores, memory and disk in bytes, rates in bytes/s.

    `gpus` is empty where there is none; `gpu_message` then says why, in a few words, as it does
    where a GPU or its driver does not answer. `cores` has the percent of each processor that
    may be used. `run_rss` is the resident memory of the training process and `run_write` what
    it writes; `disk_write` and the network's rates are the machine's. `division` comes from
    the engine alone.
    """

    time: float  # seconds since the epoch
    cpu_percent: float | None = None  # percent of all cores
    cpu_count: int | None = None  # processors that may be used
    cores: list[float] | None = None  # percent of each processor
    load_1m: float | None = None  # load average over a minute
    ram_used: int | None = None  # bytes
    ram_total: int | None = None  # bytes
    swap_used: int | None = None  # bytes
    swap_total: int | None = None  # bytes
    disk_free: int | None = None  # bytes, where the run folder is
    disk_total: int | None = None  # bytes
    disk_write: float | None = None  # bytes/s
    network_received: float | None = None  # bytes/s
    network_sent: float | None = None  # bytes/s
    run_rss: int | None = None  # bytes resident
    run_threads: int | None = None  # of the training process
    run_cpu_percent: float | None = None  # percent of all cores, by the training process
    run_write: float | None = None  # bytes/s
    gpus: list[GpuSample] = msgspec.field(default_factory=list)  # one sample each
    gpu_message: str | None = None  # why there is none, or none answers
    gpu_driver: str | None = None  # version
    cuda_version: str | None = None  # of the driver
    division: StepDivision | None = None  # from the engine alone
