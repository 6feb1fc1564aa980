"""`doctor`: shows hardware and software, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tui_trainer.cli.common import options, output
from tui_trainer.text import formats

if TYPE_CHECKING:
    from tui_trainer.cli.doctor.diagnosis import TerminalFacts, TorchFacts
    from tui_trainer.contracts.hardware import GpuSample
    from tui_trainer.hardware.system_info import SystemInfo


@click.command()
@options.json_option("Print one JSON document.")
@options.runs_dir_option
@options.debug_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Show hardware, software, and how to install what is missing.

    \b
    Examples:
      tui-trainer doctor
      tui-trainer doctor --json
    """
    from tui_trainer.cli.doctor import diagnosis  # loads the GPU libraries

    found = diagnosis.check(options.runs_dir(context))
    if as_json:
        output.document(found)
        return
    sections = [
        ("hardware", _hardware(found.system)),
        ("training will use", list(found.training.items())),
        ("torch", _torch(found.torch)),
        ("packages", [(k, v or "not installed") for k, v in found.system.packages.items()]),
        ("built-in base", _base(found.builtin_base)),
        ("terminal", _terminal(found.terminal)),
        ("paths", [(k, v or "not set") for k, v in found.paths.items()]),
        ("missing", [(f"{item.what}:", item.repair) for item in found.missing]),
    ]
    texts = [f"{title}\n{output.pairs(lines, indent=2)}" for title, lines in sections if lines]
    if not found.missing:
        texts.append("nothing is missing")
    output.data("\n\n".join(texts))


def _hardware(system: SystemInfo) -> list[tuple[str, str]]:
    limit = f", limited to {formats.short_number(system.cpu_limit)}" if system.cpu_limit else ""
    lines = [
        ("system", system.platform),
        ("python", f"{system.python} ({system.python_path})"),
        (
            "CPU",
            f"{formats.count(system.cpu_count)} × {system.cpu_name or formats.MISSING}{limit}",
        ),
        ("RAM", formats.size(system.ram_total)),
        ("disk free", f"{formats.size(system.disk_free)} at {system.disk_path}"),
    ]
    for gpu in system.gpus:
        lines.append((f"GPU{gpu.index}", _gpu(gpu)))
    if not system.gpus:
        reason = f" ({system.gpu_message})" if system.gpu_message else ""
        lines.append(("GPU", f"none{reason}"))
    if system.gpu_driver:
        cuda = f", supports CUDA up to {system.cuda_version}" if system.cuda_version else ""
        lines.append(("GPU driver", f"{system.gpu_driver}{cuda}"))
    return lines


def _gpu(gpu: GpuSample) -> str:
    if gpu.problem is not None:
        return f"{gpu.name or formats.MISSING}: {gpu.problem}"
    memory = "shares RAM" if gpu.unified else formats.size(gpu.memory_total)
    slices = f", {len(gpu.mig)} MIG slices" if gpu.mig else ""
    limited = f", clocks limited by {', '.join(gpu.throttle)}" if gpu.throttle else ""
    return f"{gpu.name or formats.MISSING}, {memory}{slices}{limited}"


def _torch(torch: TorchFacts) -> list[tuple[str, str]]:
    if torch.problem:
        return [("problem", torch.problem)]
    devices = [f"{d['name']}, {formats.size(d['memory'])}" for d in torch.devices]
    devices += ["Apple GPU (mps)"] if torch.mps_available else []
    return [
        ("version", torch.version or formats.MISSING),
        ("built for", torch.cuda_build or "CPU"),
        ("devices", "; ".join(devices) or "CPU only"),
        ("bf16 on GPU", "yes" if torch.bf16 else "no"),
        ("CPU threads", formats.count(torch.threads)),
    ]


def _base(base: dict[str, Any]) -> list[tuple[str, str]]:
    if not base["present"]:
        return [("absent", base["path"])]
    return [("path", base["path"]), ("size", formats.size(base["bytes"]))]


def _terminal(terminal: TerminalFacts) -> list[tuple[str, str]]:
    return [
        ("full screen", "yes" if terminal.is_terminal else "no: not a terminal"),
        ("TERM", terminal.kind or "not set"),
        ("size", f"{terminal.columns}×{terminal.lines} cells (columns × lines)"),
        ("colours", terminal.colours),
        ("encoding", terminal.encoding),
    ]
