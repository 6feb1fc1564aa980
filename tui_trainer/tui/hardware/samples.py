"""The hardware samples that are shown for a run, and the charts of their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tui_trainer.contracts.hardware import GpuSample, HardwareSample
from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.text import formats
from tui_trainer.text.formats import number
from tui_trainer.tui.charts.model import ChartLine, ChartSpec
from tui_trainer.tui.run_charts.viewport import ALL, Range, Viewport
from tui_trainer.watch.snapshots import RunView

_GPUS_DRAWN = 8
Value = Callable[[HardwareSample], float | None]


def shown_samples(
    live: Sequence[HardwareSample], run: RunView | None, *, here: bool
) -> tuple[tuple[HardwareSample, ...], str]:
    """The samples to show for a run, oldest first, and their source ("" for this host, now).

    A run that has ended or runs on another host has only its recorded samples. For a run that is
    training on this host (`here`) they are followed by the newer live ones.
    """
    recorded = run.hardware if run is not None else ()
    if run is None or not recorded:
        return tuple(live), ""
    if not here:
        ended = run.summary.status not in ACTIVE_STATES
        source = f"recorded by {run.summary.name}"
        return tuple(recorded), source if ended else f"{source} on {_host(run)}"
    last = recorded[-1].time
    return (*recorded, *(sample for sample in live if sample.time > last)), ""


def _host(run: RunView) -> str:
    return (run.state.host if run.state is not None else None) or "another host"


def curves_of(samples: Sequence[HardwareSample], viewport: Viewport = ALL) -> list[ChartSpec]:
    """Charts over the time of day, the most important first."""
    specs = _gpu_specs(samples) if any(sample.gpus for sample in samples) else []
    cpu = _chart("CPU", "%", samples, {"all": _cpu, "run": lambda s: s.run_cpu_percent}, 100)
    ram = _chart("RAM", "GiB", samples, {"used": _gib("ram_used"), "run": _gib("run_rss")}, None)
    specs[1:1] = [cpu]
    specs.append(ram)
    disk = {"written": _mib("disk_write"), "run": _mib("run_write")}
    network = {"in": _mib("network_received"), "out": _mib("network_sent")}
    specs.append(_chart("disk", "MiB/s", samples, disk, None))
    specs.append(_chart("network", "MiB/s", samples, network, None))
    whole = extent_of(samples)
    window = None if whole is None else viewport.shown(whole)
    return [_with_range(spec, window) for spec in specs]


def _gpu_specs(samples: Sequence[HardwareSample]) -> list[ChartSpec]:
    found = sorted({gpu.index for sample in samples for gpu in sample.gpus})[:_GPUS_DRAWN]

    def each(read: Callable[[GpuSample], float | None]) -> dict[str, Value]:
        return {str(index): _of_gpu(index, read) for index in found}

    return [
        _chart("GPU", "%", samples, each(lambda gpu: gpu.utilisation), 100),
        _chart("GPU memory", "%", samples, each(_memory_percent), 100),
        _chart("GPU temperature", "°C", samples, each(lambda gpu: gpu.temperature), None),
        _chart("GPU power", "W", samples, each(lambda gpu: gpu.power), None),
        _chart("GPU clock", "MHz", samples, each(lambda gpu: gpu.clock), None),
    ]


def _of_gpu(index: int, read: Callable[[GpuSample], float | None]) -> Value:
    def value(sample: HardwareSample) -> float | None:
        gpus = sample.gpus
        if index < len(gpus) and gpus[index].index == index:  # the common case
            return read(gpus[index])
        return next((read(gpu) for gpu in gpus if gpu.index == index), None)

    return value


def _memory_percent(gpu: GpuSample) -> float | None:
    if gpu.memory_used is None or not gpu.memory_total:
        return None
    return 100 * gpu.memory_used / gpu.memory_total


def _cpu(sample: HardwareSample) -> float | None:
    return sample.cpu_percent


def _gib(name: str) -> Value:
    def value(sample: HardwareSample) -> float | None:
        found = getattr(sample, name)
        return None if found is None else found / 2**30

    return value


def _mib(name: str) -> Value:
    def value(sample: HardwareSample) -> float | None:
        found = getattr(sample, name)
        return None if found is None else found / 2**20

    return value


def _chart(
    title: str,
    unit: str,
    samples: Sequence[HardwareSample],
    values: dict[str, Value],
    highest: float | None,
) -> ChartSpec:
    times = np.array([sample.time for sample in samples], dtype=np.float64)
    lines = []
    for colour, (label, value) in enumerate(values.items()):
        read = [value(sample) for sample in samples]
        column = np.array([np.nan if one is None else one for one in read], dtype=np.float64)
        if np.isfinite(column).any():
            # A GPU's line has its number at the end.
            tag, label = (label, "") if label.isdigit() else ("", label)
            lines.append(ChartLine(times, column, "series", label, colour, tag=tag[:1]))
    return ChartSpec(
        title=f"{title} {_newest(lines, unit)}",
        lines=tuple(lines),
        x_label="",
        x_format="clock",
        robust=False,
        y_range=None if highest is None else (0.0, highest),
        legend=len(lines) > 1,
        empty="not recorded",
    )


def _newest(lines: Sequence[ChartLine], unit: str) -> str:
    """The newest value of the first line with its unit; of many GPUs the lowest and highest."""
    values = [line.y[-1] for line in lines if line.tag] or [line.y[-1] for line in lines[:1]]
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return formats.MISSING
    low, high = (number(end(known), 3) for end in (min, max))
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"


def extent_of(samples: Sequence[HardwareSample]) -> Range | None:
    """The times of the first and the last sample; None for fewer than two."""
    if not samples or samples[-1].time <= samples[0].time:
        return None
    return samples[0].time, samples[-1].time


def _with_range(spec: ChartSpec, window: tuple[float, float] | None) -> ChartSpec:
    if window is None:
        return spec
    return replace(spec, x_range=window)
