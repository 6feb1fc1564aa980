"""The bottleneck of a run, from the parts of its steps and the load on the hardware."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tui_trainer.contracts.hardware import GpuSample, HardwareSample, StepDivision
from tui_trainer.text import formats

Kind = Literal["data", "compute", "memory", "reporting", "starved"]

# Shares of a step: from the first on, waiting for data is a bottleneck; from the second on, it is
# the bottleneck whatever else is found. From the third on, writing records is one.
DATA_SHARE, DATA_ONLY_SHARE = 0.3, 0.5
REPORTING_SHARE = 0.2
# Other processes starve a run where they use this percentage of all processors, these are this
# busy, and the training thread has a processor for less than this share of its work.
OTHERS_PERCENT, BUSY_PERCENT, CPU_SHARE = 20.0, 85.0, 0.8
# A run is memory-bound where the GPU's memory is busy for this percentage of the time while the
# arithmetic units reach less than this share of their peak.
MEMORY_BUSY_PERCENT, MFU_SHARE = 60.0, 0.35
# Shares of RAM and swap in use from which on the system swaps pages in and out.
RAM_SHARE, SWAP_SHARE = 0.95, 0.1
_SAMPLES = 5  # newest samples that are judged together


@dataclass(frozen=True)
class Bottleneck:
    """What limits the speed of a run."""

    kind: Kind
    label: str  # a word or two, for a panel
    reason: str  # a sentence with the figures
    remedy: str  # what to change


def find_bottleneck(samples: Sequence[HardwareSample]) -> Bottleneck | None:
    """The bottleneck over the newest samples; None where no step was profiled yet."""
    recent = samples[-_SAMPLES:]
    division = next((s.division for s in reversed(recent) if s.division is not None), None)
    if division is None or division.step_ms <= 0:
        return None
    data, reporting = (ms / division.step_ms for ms in (division.data_ms, division.reporting_ms))
    if data >= DATA_ONLY_SHARE:
        return _data(data)
    found = _starved(recent, division) or _gpu_shared(recent, division)
    if found is None and data >= DATA_SHARE:
        found = _data(data)
    if found is None and reporting >= REPORTING_SHARE:
        found = Bottleneck(
            "reporting",
            "reporting-bound",
            f"writing records takes {formats.share(reporting)} of each step",
            "put the runs on a faster or a local disk, or make steps larger (training.batch_size)",
        )
    return found or _memory(recent, division) or _compute(recent, division)


def _data(share: float) -> Bottleneck:
    return Bottleneck(
        "data",
        "data-bound",
        f"waiting for data takes {formats.share(share)} of each step",
        "put the data on a faster disk, prepare it once before training, or make examples "
        "cheaper to read",
    )


def _starved(samples: Sequence[HardwareSample], division: StepDivision) -> Bottleneck | None:
    others = _mean(
        s.cpu_percent - s.run_cpu_percent
        for s in samples
        if s.cpu_percent is not None and s.run_cpu_percent is not None
    )
    busy = _mean(s.cpu_percent for s in samples if s.cpu_percent is not None)
    if others is None or busy is None or others < OTHERS_PERCENT or busy < BUSY_PERCENT:
        return None
    cpu_share = division.cpu_share
    if cpu_share is not None and cpu_share >= CPU_SHARE:
        return None
    waiting = (
        ""
        if cpu_share is None
        else f"; the run had a CPU for {formats.share(cpu_share)} of its work"
    )
    return Bottleneck(
        "starved",
        "starved by another process",
        f"other processes use {formats.percent(others)} of the CPUs{waiting}",
        "stop the other processes, run them later or with nice, or reserve CPUs for the run "
        "(taskset)",
    )


def _gpu_shared(samples: Sequence[HardwareSample], division: StepDivision) -> Bottleneck | None:
    """Whether other processes compute on the run's GPU; None where the driver does not list the
    run's own process."""
    gpus = [gpu for gpu in (gpu_of(sample, division) for sample in samples) if gpu is not None]
    shares = []
    for gpu in gpus:
        processes = gpu.processes or []
        if any(process.run for process in processes):
            shares.append(sum(p.utilisation or 0.0 for p in processes if not p.run))
    others = _mean(shares)
    busy = _mean(gpu.utilisation for gpu in gpus if gpu.utilisation is not None)
    if others is None or busy is None or others < OTHERS_PERCENT or busy < BUSY_PERCENT:
        return None
    return Bottleneck(
        "starved",
        "starved by another process",
        f"other processes use {formats.percent(others)} of the GPU's time",
        "stop the other processes, run them later, or train on another GPU (CUDA_VISIBLE_DEVICES)",
    )


def _memory(samples: Sequence[HardwareSample], division: StepDivision) -> Bottleneck | None:
    last = samples[-1]
    ram = _share(last.ram_used, last.ram_total)
    swap = _share(last.swap_used, last.swap_total)
    if ram is not None and swap is not None and ram >= RAM_SHARE and swap >= SWAP_SHARE:
        return Bottleneck(
            "memory",
            "memory-bound",
            f"RAM is {formats.share(ram)} full, and {formats.share(swap)} of swap is in use",
            "lower training.batch_size or data.max_length, use a smaller base model, or stop other "
            "programs that use memory",
        )
    gpu = gpu_of(last, division)
    used = division.utilisation
    if gpu is None or gpu.memory_busy is None or gpu.memory_busy < MEMORY_BUSY_PERCENT:
        return None
    if used is not None and used >= MFU_SHARE:
        return None
    figure = "" if used is None else f", its arithmetic units {formats.share(used)}"
    return Bottleneck(
        "memory",
        "memory-bound",
        f"the GPU's memory is busy {formats.percent(gpu.memory_busy)} of the time{figure}",
        'larger micro-batches (training.batch_size), training.precision = "bf16", or '
        "training.gradient_checkpointing = false do more arithmetic for each byte",
    )


def _compute(samples: Sequence[HardwareSample], division: StepDivision) -> Bottleneck:
    work = division.forward_ms + division.backward_ms + division.optimizer_ms
    share = min(1.0, work / division.step_ms)
    used = division.utilisation
    figure = "" if used is None else f", at {formats.share(used)} of the device's peak"
    gpu = gpu_of(samples[-1], division)
    if gpu is not None and gpu.throttle:
        reasons = ", ".join(gpu.throttle)
        remedy = f"the GPU lowers its clocks ({reasons}): check its cooling and power limit"
    elif division.device == "cpu":
        remedy = "a GPU, a smaller base model, or a lower data.max_length makes steps faster"
    else:
        remedy = 'larger micro-batches, training.precision = "bf16", or a faster device'
    reason = f"forward, backward and update take {formats.share(share)} of each step{figure}"
    return Bottleneck("compute", "compute-bound", reason, remedy)


def gpu_of(sample: HardwareSample, division: StepDivision) -> GpuSample | None:
    """The GPU that the run trains on; None where it is not known."""
    if division.device == "cpu" or not sample.gpus:
        return None
    if len(sample.gpus) == 1:
        return sample.gpus[0]
    used = [gpu for gpu in sample.gpus if gpu.memory_run]
    return used[0] if len(used) == 1 else None


def _share(used: int | None, total: int | None) -> float | None:
    return used / total if used is not None and total else None


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
