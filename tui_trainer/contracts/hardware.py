"""Hardware samples: lines of `hardware.jsonl`.

A value that cannot be read is None. Fields at their default are left out of the line.
"""

from __future__ import annotations

import msgspec


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process on a GPU."""

    pid: int  # process id
    name: str | None = None  # of its program; None if it runs outside this container
    memory: int | None = None  # bytes on the GPU
    utilisation: float | None = None  # percent of time in which it computed
    run: bool = False  # whether it is the run's own process


class MigSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A slice of a GPU that is divided by MIG (NVIDIA's Multi-Instance GPU)."""

    index: int  # of the slice, from 0
    name: str | None = None  # of its profile
    memory_used: int | None = None  # bytes
    memory_total: int | None = None  # bytes


class GpuSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One GPU."""

    index: int  # of the GPU, from 0
    vendor: str | None = None  # such as "NVIDIA"
    name: str | None = None  # of the model
    uuid: str | None = None  # unique id
    problem: str | None = None  # why the other fields are None, such as a lost GPU; a few words
    utilisation: float | None = None  # percent of time in which it computed
    memory_busy: float | None = None  # percent of time in which memory was read or written
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
    throttle: list[str] | None = None  # why the clocks are lowered; empty if they are not
    pcie_generation: int | None = None  # of the link now
    pcie_width: int | None = None  # lanes in use
    pcie_generation_max: int | None = None  # highest that the link supports
    pcie_width_max: int | None = None  # most lanes that the link supports
    ecc_corrected: int | None = None  # memory errors since the driver was loaded
    ecc_uncorrected: int | None = None  # memory errors since the driver was loaded
    mig: list[MigSample] = msgspec.field(default_factory=list)  # MIG slices
    processes: list[GpuProcess] | None = None  # that use it; None if unknown


class StepDivision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the time of an optimizer step divides, measured by the engine.

    Times are means over the sampled steps, each the sum over all passes of a step. Memory is the
    device's, as torch counts it.
    """

    step: int  # newest sampled step
    steps: int  # number of sampled steps
    device: str  # that computes, as torch names it
    step_ms: float  # whole step, milliseconds
    data_ms: float  # waiting for batches, milliseconds
    forward_ms: float  # milliseconds
    backward_ms: float  # milliseconds
    optimizer_ms: float  # clipping and update, milliseconds
    reporting_ms: float  # writing records, milliseconds
    # Share (0..1) of forward, backward and optimizer in which the training thread had a CPU.
    cpu_share: float | None = None
    tokens_per_second: float | None = None  # without padding
    memory_allocated: int | None = None  # bytes in tensors
    memory_reserved: int | None = None  # bytes reserved from the driver
    memory_peak: int | None = None  # most bytes allocated
    flops: float | None = None  # model arithmetic, operations per second
    peak_flops: float | None = None  # of the device, operations per second
    utilisation: float | None = None  # MFU (0..1): `flops` / `peak_flops`


class HardwareSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sample of the whole system and of the training process."""

    time: float  # seconds since the epoch
    cpu_percent: float | None = None  # percent of all cores
    cpu_count: int | None = None  # cores that the process may use
    cores: list[float] | None = None  # percent of each core that the process may use
    load_1m: float | None = None  # load average over a minute
    ram_used: int | None = None  # bytes
    ram_total: int | None = None  # bytes
    swap_used: int | None = None  # bytes
    swap_total: int | None = None  # bytes
    disk_free: int | None = None  # bytes, where the run folder is
    disk_total: int | None = None  # bytes
    disk_write: float | None = None  # bytes/s, of all processes
    network_received: float | None = None  # bytes/s, of all processes
    network_sent: float | None = None  # bytes/s, of all processes
    run_rss: int | None = None  # bytes resident, of the training process
    run_threads: int | None = None  # of the training process
    run_cpu_percent: float | None = None  # percent of all cores, by the training process
    run_write: float | None = None  # bytes/s, written by the training process
    gpus: list[GpuSample] = msgspec.field(default_factory=list)  # one sample per GPU
    gpu_message: str | None = None  # why there is no GPU, or none responds; a few words
    gpu_driver: str | None = None  # version of the driver
    cuda_version: str | None = None  # newest that the driver supports
    division: StepDivision | None = None  # parts of a step; only in runs of the engine
