"""The hardware page as text and bars for any width; an unknown value is "–"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from textual.content import Content

from tui_trainer.contracts.hardware import GpuProcess, GpuSample, HardwareSample, StepDivision
from tui_trainer.hardware.bottleneck import find_bottleneck
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, percent
from tui_trainer.tui.common.markup import meter, shorten, wrapped
from tui_trainer.tui.common.panel import stack
from tui_trainer.tui.hardware.hardware_values import gpu_memory, no_gpu, ticks, with_unit

_LABEL = 8
_CORE = 18  # cells of a processor that is drawn as a bar
_CORES_AS_BARS = 32
_PROCESSES = 12
# Each part of a step has its own pattern, so that no colour is needed to distinguish them.
_PARTS = (
    ("data", "░", "data_ms"),
    ("forward", "▒", "forward_ms"),
    ("backward", "▓", "backward_ms"),
    ("optimizer", "█", "optimizer_ms"),
    ("reporting", "▚", "reporting_ms"),
)


def page(samples: Sequence[HardwareSample], width: int, run_pid: int | None = None) -> Content:
    """The newest sample in lines of at most `width` cells."""
    if not samples:
        return Content.styled("no hardware sample yet", "$faint")
    last = samples[-1]
    gpus = _gpus(_named(samples), width, run_pid)
    blocks = [_bottleneck(samples, width), gpus, _cpu(last, width), _memory_disk_network(last)]
    return Content("\n\n").join([block for block in blocks if block is not None])


def _bottleneck(samples: Sequence[HardwareSample], width: int) -> Content | None:
    """The run's bottleneck, and the parts of its steps."""
    # Only recorded samples have the parts of the steps.
    known = [sample for sample in samples if sample.division is not None]
    verdict = find_bottleneck(known)
    if verdict is None or known[-1].division is None:
        return None
    division = known[-1].division
    return stack(
        *wrapped(Content.assemble((verdict.label, "bold"), f": {verdict.reason}"), width),
        *wrapped(Content.styled(f"→ {verdict.remedy}", "$accent"), width),
        *_step_parts(division, width),
    )


def _step_parts(division: StepDivision, width: int) -> list[Content]:
    whole = division.step_ms or 1.0
    room = max(10, min(60, width - 26))
    bar, parts = "", []
    for name, glyph, attribute in _PARTS:
        share = getattr(division, attribute) / whole
        bar += glyph * round(share * room)
        parts.append(f"{glyph} {name} {formats.share(share)}")
    facts = [
        f"{formats.count(division.tokens_per_second)} tokens/s",
        f"MFU {formats.share(division.utilisation)}",
    ]
    if division.device != "cpu":
        names = ("allocated", "reserved", "peak")
        sizes = (division.memory_allocated, division.memory_reserved, division.memory_peak)
        listed = [f"{name} {formats.size(size)}" for name, size in zip(names, sizes, strict=True)]
        facts.append("memory " + ", ".join(listed))
    elif division.memory_peak is not None:
        facts.append(f"peak memory {formats.size(division.memory_peak)}")
    took = f" {formats.milliseconds(division.step_ms)}"
    step = Content.assemble((_label("step"), "$faint"), bar[:room], took)
    lines = _joined(parts, width - _LABEL) + _joined(facts, width - _LABEL)
    return [step, *(Content(" " * _LABEL + line) for line in lines)]


def _cpu(sample: HardwareSample, width: int) -> Content:
    one = sample.cpu_count == 1
    facts = [
        percent(sample.cpu_percent),
        f"{formats.count(sample.cpu_count)} {'processor' if one else 'processors'}",
        f"load {formats.number(sample.load_1m, 3)}",
    ]
    if sample.run_cpu_percent is not None:
        facts.append(f"run {percent(sample.run_cpu_percent)}")
    if sample.run_threads is not None:
        facts.append(formats.plural(sample.run_threads, "thread"))
    head = Content.assemble((_label("CPU"), "$faint"), shorten("   ".join(facts), width - _LABEL))
    return stack(head, *_cores(sample.cores or [], width))


def _cores(cores: Sequence[float], width: int) -> list[Content]:
    """A bar for each processor, or one character each if there are many."""
    if len(cores) > _CORES_AS_BARS:
        room = max(1, width - _LABEL)
        text = ticks(share / 100 for share in cores)
        rows = [text[at : at + room] for at in range(0, len(text), room)]
        return [Content.assemble(" " * _LABEL, (row, "$accent")) for row in rows]
    across = max(1, (width - _LABEL) // _CORE)
    cells = [
        Content.assemble((f"{at:>2} ", "$faint"), meter(share / 100, 8), f" {percent(share):>5} ")
        for at, share in enumerate(cores)
    ]
    return [
        Content.assemble(" " * _LABEL, *cells[at : at + across])
        for at in range(0, len(cells), across)
    ]


def _memory_disk_network(sample: HardwareSample) -> Content:
    swap = (
        "none" if sample.swap_total == 0 else formats.size_of(sample.swap_used, sample.swap_total)
    )
    memory = [formats.size_of(sample.ram_used, sample.ram_total), f"swap {swap}"]
    if sample.run_rss is not None:
        memory.append(f"run {formats.size(sample.run_rss)}")
    disk = [
        f"{formats.size(sample.disk_free)} free",
        f"written {formats.byte_rate(sample.disk_write)}",
    ]
    if sample.disk_total is not None:
        disk[0] += f" of {formats.size(sample.disk_total)}"
    if sample.run_write is not None:
        disk.append(f"run {formats.byte_rate(sample.run_write)}")
    network = [
        f"in {formats.byte_rate(sample.network_received)}",
        f"out {formats.byte_rate(sample.network_sent)}",
    ]
    rows = (("RAM", memory), ("disk", disk), ("network", network))
    return stack(
        *(Content.assemble((_label(name), "$faint"), "   ".join(facts)) for name, facts in rows)
    )


# -- GPUs --------------------------------------------------------------------------------------


def _named(samples: Sequence[HardwareSample]) -> HardwareSample:
    """The newest sample; a lost GPU keeps its earlier name."""
    last = samples[-1]
    if all(gpu.name is not None for gpu in last.gpus):
        return last
    names = {gpu.index: gpu.name for sample in samples for gpu in sample.gpus if gpu.name}
    gpus = [msgspec.structs.replace(g, name=g.name or names.get(g.index)) for g in last.gpus]
    return msgspec.structs.replace(last, gpus=gpus)


def _gpus(sample: HardwareSample, width: int, run_pid: int | None) -> Content:
    message = clean(sample.gpu_message or "")
    if not sample.gpus:
        return no_gpu(_label("GPU"), message)
    name_width = 22 if width >= 100 else 16
    shown, used = [], name_width
    for column in _COLUMNS:
        if used + column[1] + 2 > width:
            break
        shown.append(column)
        used += column[1] + 2
    title = f"{'GPU':<{name_width}}" + "".join(f"  {name:>{size}}" for name, size, _ in shown)
    lines = [Content.styled(title, "$faint")]
    few = len(sample.gpus) <= 2
    for gpu in sample.gpus:
        lines += _gpu(gpu, name_width, shown, width, few)
    lines += _processes(sample.gpus, run_pid, width)
    versions = sample.gpu_driver or formats.MISSING, sample.cuda_version or formats.MISSING
    driver = "driver {}, CUDA {}".format(*versions)
    lines.append(Content.styled(shorten(driver, width), "$faint"))
    if message:
        lines.append(Content.styled(shorten(message, width), "$warning"))
    return stack(*lines)


def _gpu(
    gpu: GpuSample,
    name_width: int,
    shown: Sequence[tuple[str, int, Callable[[GpuSample], str]]],
    width: int,
    with_hidden: bool,
) -> list[Content]:
    name = clean(gpu.name or formats.MISSING).removeprefix("NVIDIA ")
    title = f"{shorten(f'{gpu.index} {name}', name_width):<{name_width}}"
    if gpu.problem is not None:
        problem = shorten(f"  {clean(gpu.problem)}", width - name_width)
        return [Content.assemble(title, (problem, "$error"))]
    cells = "".join(f"  {shorten(read(gpu), size):>{size}}" for _, size, read in shown)
    lines = [Content(f"{title}{cells}")]
    hidden = [column for column in _COLUMNS if column not in shown]
    if with_hidden and hidden:
        pairs = [f"{title} {read(gpu)}" for title, _, read in hidden]
        lines += [Content(f"  {line}") for line in _joined(pairs, width - 2)]
    for part in gpu.mig:
        part_name = f"  └ {part.index} {clean(part.name or 'MIG')}  "
        lines.append(
            Content(
                shorten(part_name + formats.size_of(part.memory_used, part.memory_total), width)
            )
        )
    return lines


def _processes(gpus: Sequence[GpuSample], run_pid: int | None, width: int) -> list[Content]:
    """The processes on each GPU, the largest first; one without a name belongs to the host."""
    rows = [(gpu.index, process) for gpu in gpus for process in gpu.processes or ()]
    if not rows:
        return []
    title = f"{'on GPU':<8}{'pid':>9}  {'memory':>9}  {'use':>6}  process"
    lines = [Content.styled(title, "$faint")]
    for index, process in rows[:_PROCESSES]:
        figures = f"{formats.size(process.memory):>9}  {percent(process.utilisation):>6}"
        line = f"{index:<8}{process.pid:>9}  {figures}  {_process_name(process, run_pid)}"
        lines.append(Content(shorten(line, width)))
    if len(rows) > _PROCESSES:
        lines.append(Content.styled(f"and {formats.count(len(rows) - _PROCESSES)} more", "$faint"))
    return lines


def _process_name(process: GpuProcess, run_pid: int | None) -> str:
    name = clean(process.name or "unknown (a process of the host)")
    return f"◀ this run  {name}" if process.run or process.pid == run_pid else name


def _power(gpu: GpuSample) -> str:
    power = formats.count(gpu.power)
    if gpu.power is None and gpu.power_limit is None:
        return formats.MISSING
    return (
        f"{power} W" if gpu.power_limit is None else f"{power} / {formats.count(gpu.power_limit)} W"
    )


def _clock(gpu: GpuSample) -> str:
    clock = formats.count(gpu.clock)
    if gpu.clock is None and gpu.clock_max is None:
        return formats.MISSING
    return (
        f"{clock} MHz" if gpu.clock_max is None else f"{clock} / {formats.count(gpu.clock_max)} MHz"
    )


def _throttle(gpu: GpuSample) -> str:
    return formats.MISSING if gpu.throttle is None else ", ".join(gpu.throttle) or "none"


def _pcie(gpu: GpuSample) -> str:
    def link(generation: int | None, lanes: int | None) -> str | None:
        return None if generation is None or lanes is None else f"{generation}.0 ×{lanes}"

    now = link(gpu.pcie_generation, gpu.pcie_width)
    most = link(gpu.pcie_generation_max, gpu.pcie_width_max)
    return (
        now or formats.MISSING
        if most is None or most == now
        else f"{now or formats.MISSING} of {most}"
    )


def _ecc(gpu: GpuSample) -> str:
    if gpu.ecc_corrected is None and gpu.ecc_uncorrected is None:
        return formats.MISSING
    return f"{formats.count(gpu.ecc_corrected)} / {formats.count(gpu.ecc_uncorrected)} uncorrected"


# Title, cells and text of each column, the most important first.
_COLUMNS: tuple[tuple[str, int, Callable[[GpuSample], str]], ...] = (
    ("use", 6, lambda gpu: percent(gpu.utilisation)),
    ("memory", 17, gpu_memory),
    ("run", 9, lambda gpu: formats.size(gpu.memory_run)),
    ("temp", 7, lambda gpu: with_unit(gpu.temperature, "°C")),
    ("power", 12, _power),
    ("fan", 6, lambda gpu: percent(gpu.fan)),
    ("clock", 17, _clock),
    ("mem clock", 10, lambda gpu: with_unit(gpu.memory_clock, "MHz")),
    ("throttled by", 27, _throttle),
    ("PCIe", 18, _pcie),
    ("ECC", 19, _ecc),
    ("mem busy", 8, lambda gpu: percent(gpu.memory_busy)),
)


def _label(name: str) -> str:
    return f"{name:<{_LABEL}}"


def _joined(parts: Sequence[str], width: int) -> list[str]:
    """Parts joined by gaps, in lines of at most `width`."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += f"   {part}"
        else:
            lines.append(shorten(part, width))
    return lines
