"""Collects what `doctor` shows: hardware, packages, terminal, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.cli.common import output
from tui_trainer.cli.doctor import repairs
from tui_trainer.cli.doctor.repairs import MissingItem
from tui_trainer.hardware.system_info import SystemInfo, system_info
from tui_trainer.launch.engine_process import NEEDED, REPAIR
from tui_trainer.store import paths
from tui_trainer.text import formats

TORCH_SECONDS = 90.0  # importing torch from a cold disk may take a minute
_SMALLEST = (80, 24)

# Run in a process of its own: importing torch takes seconds, and may crash with a wrong driver.
_ASK_TORCH = """
import json, torch
cuda = torch.cuda.is_available()
count = torch.cuda.device_count() if cuda else 0
gpus = [torch.cuda.get_device_properties(i) for i in range(count)]
mps = getattr(torch.backends, "mps", None)
print(json.dumps({
    "version": torch.__version__,
    "cuda_build": torch.version.cuda or torch.version.hip,
    "built_for_cuda": torch.version.cuda is not None,
    "cuda_available": cuda,
    "mps_available": bool(mps and mps.is_available()),
    "devices": [{"name": g.name, "memory": g.total_memory} for g in gpus],
    "bf16": bool(cuda and torch.cuda.is_bf16_supported()),
    "threads": torch.get_num_threads(),
}))
"""


class TorchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Torch's devices (memory in bytes); `problem` says why torch could not be asked."""

    version: str | None = None
    cuda_build: str | None = None
    built_for_cuda: bool = False
    cuda_available: bool = False
    mps_available: bool = False
    devices: list[dict[str, Any]] = msgspec.field(default_factory=list)
    bf16: bool = False
    threads: int | None = None
    problem: str | None = None


class TerminalFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The terminal as the environment describes it; the size in cells."""

    is_terminal: bool
    kind: str | None
    columns: int
    lines: int
    colours: str
    encoding: str
    unicode: bool


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `doctor` shows.

    `paths` are the program's folders and files by name, `training` what a training will use.
    """

    system: SystemInfo = msgspec.field(name="machine")
    torch: TorchFacts
    builtin_base: dict[str, Any]
    terminal: TerminalFacts
    paths: dict[str, str] = msgspec.field(name="places")
    training: dict[str, str]
    missing: list[MissingItem]


def check(runs_dir: Path) -> Diagnosis:
    """Collect everything; takes as long as importing torch."""
    system = system_info(_nearest_existing(runs_dir))
    torch = ask_torch()
    terminal = terminal_facts()
    base = _builtin_base()
    return Diagnosis(
        system=system,
        torch=torch,
        builtin_base=base,
        terminal=terminal,
        paths={
            "home": str(paths.home()),
            "TUI_TRAINER_HOME": os.environ.get("TUI_TRAINER_HOME", ""),
            "configuration": str(paths.config_file()),
            "runs": str(runs_dir.absolute()),
        },
        training=training_facts(system, torch),
        missing=find_missing(system, torch, terminal, base_present=base["present"]),
    )


def ask_torch(timeout: float = TORCH_SECONDS) -> TorchFacts:
    """Ask torch about its devices, `timeout` seconds at most. Never raises."""
    if importlib.util.find_spec("torch") is None:
        return TorchFacts(problem="not installed")
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _ASK_TORCH],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TorchFacts(problem=f"did not answer within {timeout:g} s")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return TorchFacts(problem=f"cannot be imported: {last}")
    return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=TorchFacts)


def training_facts(system: SystemInfo, torch: TorchFacts) -> dict[str, str]:
    """What a training on this computer will use: device, precision, threads."""
    if torch.problem is not None:
        return {"device": f"none: torch {torch.problem}"}
    device, precision = "CPU", "fp32"
    if torch.cuda_available and torch.devices:
        first = torch.devices[0]
        device = f"{first['name']}, {formats.size(first['memory'])}"
        precision = "bf16 or fp32" if torch.bf16 else "fp16 or fp32"
        if len(torch.devices) > 1:
            device += f" (the first of {len(torch.devices)})"
    elif torch.mps_available:
        device = f"Apple GPU, shares {formats.size(system.ram_total)} of RAM"
    elif torch.version is not None:
        precision = "fp32, or bf16 where the processor has it"
    threads = f"at most {formats.count(torch.threads)}, fewer for small bases"
    return {"device": device, "training.precision": precision, "CPU threads": threads}


def terminal_facts() -> TerminalFacts:
    """Facts about the terminal from the environment."""
    size = shutil.get_terminal_size()
    encoding = getattr(sys.stdout, "encoding", None) or "unknown"
    return TerminalFacts(
        is_terminal=output.is_interactive(),
        kind=os.environ.get("TERM"),
        columns=size.columns,
        lines=size.lines,
        colours=_colours(),
        encoding=encoding,
        unicode=encoding.lower().replace("-", "").startswith("utf"),
    )


def find_missing(
    system: SystemInfo, torch: TorchFacts, terminal: TerminalFacts, *, base_present: bool
) -> list[MissingItem]:
    """What is missing, the most important first, each with the command that repairs it."""
    found = []
    absent = [name for name in NEEDED if system.packages.get(name) is None]
    if absent:
        found.append(MissingItem(f"{', '.join(absent)} (needed to train)", REPAIR))
    elif torch.problem:
        found.append(
            MissingItem(f"a working torch: {torch.problem}", f"{REPAIR} --force-reinstall")
        )
    if not base_present:
        found.append(
            MissingItem("the built-in base", "pip install --force-reinstall --no-deps tui-trainer")
        )
    if system.packages.get("pyarrow") is None:
        found.append(
            MissingItem(
                "pyarrow (reads .parquet, .arrow and .zst data)",
                'pip install "tui-trainer[parquet]"',
            )
        )
    gpu_build = torch.cuda_build if torch.built_for_cuda else None
    works = torch.version is not None and not torch.problem
    found += repairs.of_gpus(
        system, torch_works=works, torch_uses_gpu=torch.cuda_available, built_for=gpu_build
    )
    found += repairs.of_disk(system)
    found.extend(_missing_in_terminal(terminal))
    return found


def _missing_in_terminal(terminal: TerminalFacts) -> list[MissingItem]:
    found = []
    if not terminal.unicode:
        found.append(
            MissingItem("a UTF-8 locale (charts are drawn in ASCII)", "export LANG=C.UTF-8")
        )
    if not terminal.is_terminal:
        return found
    if terminal.columns < _SMALLEST[0] or terminal.lines < _SMALLEST[1]:
        found.append(MissingItem("a terminal of 80×24 cells", "enlarge the window"))
    if terminal.colours != "16 million" and terminal.colours != "none (NO_COLOR)":
        found.append(
            MissingItem(
                "16 million colours", "export COLORTERM=truecolor, if the terminal supports them"
            )
        )
    return found


def _colours() -> str:
    if os.environ.get("NO_COLOR"):
        return "none (NO_COLOR)"
    if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "16 million"
    kind = os.environ.get("TERM", "")
    if kind in ("", "dumb"):
        return "none"
    return "256" if "256" in kind else "16"


def _builtin_base() -> dict[str, Any]:
    folder = paths.builtin_model()
    files = [p for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
    names = {p.name for p in files}
    return {
        "present": {"config.json", "model.safetensors", "tokenizer.json"} <= names,
        "path": str(folder),
        "bytes": sum(p.stat().st_size for p in files),
    }


def _nearest_existing(path: Path) -> Path:
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.is_dir())
