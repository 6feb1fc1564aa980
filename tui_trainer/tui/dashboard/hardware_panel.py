"""The hardware panel: CPU, memory and GPUs; an unknown value is "–"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from tui_trainer.contracts.hardware import GpuSample, HardwareSample
from tui_trainer.hardware.bottleneck import find_bottleneck
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common.markup import meter, shorten
from tui_trainer.tui.common.panel import Panel, spread, stack
from tui_trainer.tui.hardware.hardware_values import NO_GPU, gpu_memory, no_gpu, ticks, with_unit

_LABEL = 6
_HISTORY = 16  # samples in the CPU row
_FEW = 2  # so many GPUs at most have several lines each


@dataclass(frozen=True)
class GpuLine:
    """One GPU as text."""

    name: str
    share: float | None  # its utilisation, 0..1
    use: str  # its utilisation as text
    memory: str  # used of total
    run: str  # memory of the run; empty if unknown
    temperature: str
    problem: str = ""


@dataclass(frozen=True)
class HardwareSummary:
    """The hardware as text."""

    cpu: str = formats.MISSING
    history: tuple[float, ...] = ()  # the last CPU utilisations, 0..1
    ram: str = formats.MISSING  # used of total
    ram_share: float | None = None  # 0..1
    run: str = ""  # memory of the run; empty if unknown
    disk: str = ""  # free space; empty if unknown
    gpus: tuple[GpuLine, ...] = ()
    gpu_message: str = ""  # why no GPU is listed
    bottleneck: str = ""  # of the run
    source: str = ""  # of recorded samples; empty for live ones of this computer


def hardware_summary(samples: Sequence[HardwareSample], source: str = "") -> HardwareSummary:
    """The facts of the newest sample, with the CPU history and the bottleneck of the run;
    `source` is that of recorded samples, empty for live ones of this computer."""
    if not samples:
        return HardwareSummary()
    last = samples[-1]
    verdict = find_bottleneck([sample for sample in samples if sample.division is not None][-5:])
    share = last.ram_used / last.ram_total if last.ram_used and last.ram_total else None
    return HardwareSummary(
        cpu=formats.percent(last.cpu_percent),
        history=tuple(round((s.cpu_percent or 0.0) / 100, 2) for s in samples[-_HISTORY:]),
        ram=formats.size_of(last.ram_used, last.ram_total),
        ram_share=None if share is None else round(share, 2),
        run="" if last.run_rss is None else formats.size(last.run_rss),
        disk="" if last.disk_free is None else formats.size(last.disk_free),
        gpus=tuple(_gpu(gpu) for gpu in last.gpus),
        gpu_message=clean(last.gpu_message or ""),
        bottleneck="" if verdict is None else verdict.label,
        source=clean(source),
    )


class HardwarePanel(Panel[HardwareSummary]):
    """A block of lines, or one line where there is no room for more."""

    def __init__(self, key: str = "h") -> None:
        """`key` opens the hardware screen."""
        super().__init__(HardwareSummary(), id="hardware-panel")
        self._key = key

    async def on_click(self) -> None:
        """Open the hardware screen."""
        await self.run_action("app.control_run('hardware')")

    def draw(self, facts: HardwareSummary, width: int, height: int) -> Content:
        return _line(facts, width) if height == 1 else _block(facts, width, self._key)


def _gpu(gpu: GpuSample) -> GpuLine:
    return GpuLine(
        name=f"GPU{gpu.index} {clean(gpu.name or '')}".strip(),
        share=None if gpu.utilisation is None else gpu.utilisation / 100,
        use=formats.percent(gpu.utilisation),
        memory=gpu_memory(gpu),
        run="" if gpu.memory_run is None else formats.size(gpu.memory_run),
        temperature=with_unit(gpu.temperature, "°C"),
        problem=clean(gpu.problem or ""),
    )


def _title(facts: HardwareSummary) -> Content:
    notes = ", ".join(filter(None, ("recorded" if facts.source else "", facts.bottleneck)))
    return Content.assemble(("hardware", "bold"), (f"  {notes}" if notes else "", "$faint"))


def _line(facts: HardwareSummary, width: int) -> Content:
    left = Content.assemble(" ", ("CPU ", "$faint"), facts.cpu, ("  RAM ", "$faint"), facts.ram)
    if facts.run:
        left = Content.assemble(left, ("  run ", "$faint"), facts.run)
    if not facts.gpus:
        return spread(left, Content.assemble(("GPU ", "$faint"), NO_GPU, " "), width)
    gpu = facts.gpus[0]
    more = f" (+{len(facts.gpus) - 1})" if len(facts.gpus) > 1 else ""
    right = Content.assemble(
        ("GPU ", "$faint"), gpu.use, " ", gpu.memory, " ", gpu.temperature, more, " "
    )
    return spread(left, right, width)


def _block(facts: HardwareSummary, width: int, key: str) -> Content:
    bar = max(6, min(_HISTORY, width - 24))
    lines = [
        spread(_title(facts), Content.styled(f"{key} more", "$faint"), width),
        _row("CPU", _spark(facts.history, bar), facts.cpu),
        _row("RAM", meter(facts.ram_share, bar), facts.ram),
    ]
    if facts.run or facts.disk:
        run = Content.assemble((f"{'run':<{_LABEL}}", "$faint"), facts.run or formats.MISSING)
        disk = Content.assemble(("disk free ", "$faint"), facts.disk or formats.MISSING)
        lines.append(spread(run, disk, width))
    if len(facts.gpus) > _FEW:
        lines += [_short(gpu, width) for gpu in facts.gpus]
    for gpu in facts.gpus if len(facts.gpus) <= _FEW else ():
        if gpu.problem:
            lines.append(Content(shorten(f"{gpu.name}  {gpu.problem}", width)))
            continue
        lines.append(spread(Content(shorten(gpu.name, width)), Content(gpu.temperature), width))
        lines.append(_row("", meter(gpu.share, bar), gpu.use))
        of_run = f"  run {gpu.run}" if gpu.run else ""
        lines.append(Content.assemble((f"{'mem':<{_LABEL}}", "$faint"), gpu.memory, of_run))
    if not facts.gpus:
        lines.append(no_gpu(f"{'GPU':<{_LABEL}}", facts.gpu_message))
    return stack(*lines)


def _short(gpu: GpuLine, width: int) -> Content:
    """A GPU among many in one line."""
    label = f"{gpu.name.split()[0]:<{_LABEL}}"
    if gpu.problem:
        return Content.assemble((label, "$faint"), shorten(gpu.problem, width - _LABEL))
    left = Content.assemble((label, "$faint"), meter(gpu.share, 6), f" {gpu.use:>5}")
    return spread(left, Content(f"{gpu.memory}  {gpu.temperature}"), width)


def _row(label: str, bar: Content, value: str) -> Content:
    return Content.assemble((f"{label:<{_LABEL}}", "$faint"), bar, "  ", value)


def _spark(history: tuple[float, ...], width: int) -> Content:
    return Content.styled(ticks(history[-width:]).rjust(width), "$accent")
