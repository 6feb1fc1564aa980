"""`python -m tests.benchmarks.hardware`: what looking at the machine costs, as a Markdown table.

CPU seconds of this process, all its threads, so that other work on the machine matters little.
The eight GPUs are a fake that answers at once: our own cost is measured, not a driver's. The
division is measured by its marks alone, repeated without a step between them, against the steps
of the built-in base in the example job, the shortest that there are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.benchmarks.hardware import gpu
from tui_trainer.engine.records.step_profile import StepProfile
from tui_trainer.hardware.nvml import NvmlGpus
from tui_trainer.hardware.sampler import Sampler
from tui_trainer.store import jobs
from tui_trainer.store.runs import run_folder

PASSES = 1  # forward passes of a step in the example job
EXAMPLE = Path("tui_trainer/examples/lighthouse.toml")


def main() -> None:
    """Measures and prints; exit status 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hardware")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--gpu", action="store_true", help="compare with nvidia-smi instead")
    parser.add_argument("--rounds", type=int, default=20, help="of the comparison, a second each")
    parser.add_argument("--base", default="135M", choices=["builtin", "30M", "135M"])
    options = parser.parse_args()
    if options.gpu:
        sys.exit(gpu.check(options.rounds, options.base, options.json))
    lines: list[tuple[str, str, float, float | None]] = [
        ("sampling at 1 Hz, GPUs as they are here", "% of a core",
         100 * cost_of_sampling(None, options.samples), 0.5),
        ("sampling at 1 Hz, eight GPUs (a fake driver)", "% of a core",
         100 * cost_of_sampling(eight_gpus(), options.samples), 0.5),
    ]  # fmt: skip
    sampled, passed = cost_of_marks(every=True), cost_of_marks(every=False)
    step = seconds_of_a_step()
    mean = passed + (sampled - passed) / 8
    lines += [
        ("marks of a step that is taken apart", "µs", sampled * 1e6, None),
        ("marks of a step that is not", "µs", passed * 1e6, None),
        ("median step of the example job", "ms", step * 1e3, None),
        ("division, one step in eight", "% of a step", 100 * mean / step, 0.2),
    ]
    if options.json:
        print(json.dumps({name: value for name, _, value, _ in lines}))
    else:
        print("| what | measured | limit |\n|---|---|---|")
        for name, unit, value, limit in lines:
            print(f"| {name} | {value:.3g} {unit} | {limit if limit is not None else ''} |")
        print(f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    sys.exit(any(limit is not None and value > limit for _, _, value, limit in lines))


def cost_of_sampling(gpus: NvmlGpus | None, count: int) -> float:
    """CPU seconds of a sample."""
    sampler = Sampler(os.getpid(), Path.cwd(), gpus)
    sampler.sample()  # what is loaded once
    return cpu_seconds(sampler.sample, count)


def eight_gpus() -> NvmlGpus:
    """GPUs that answer every question at once."""
    process = SimpleNamespace(pid=os.getpid(), usedGpuMemory=1 << 30)
    answers: dict[str, Callable[..., Any]] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetCount": lambda: 8,
        "nvmlDeviceGetHandleByIndex": int,
        "nvmlDeviceGetName": lambda _: "NVIDIA H200",
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=1 << 30, total=1 << 37),
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=90, memory=40),
        "nvmlDeviceGetComputeRunningProcesses": lambda _: [process],
        "nvmlDeviceGetProcessUtilization": lambda _, since: [
            SimpleNamespace(pid=os.getpid(), timeStamp=since, smUtil=90)
        ],
        "nvmlSystemGetProcessName": lambda _: "python",
        "nvmlDeviceGetMigMode": lambda _: [0, 0],
    }
    numbers = (
        "Temperature", "TemperatureThreshold", "PowerUsage", "EnforcedPowerLimit", "FanSpeed",
        "ClockInfo", "MaxClockInfo", "CurrentClocksEventReasons", "CurrPcieLinkGeneration",
        "CurrPcieLinkWidth", "MaxPcieLinkGeneration", "MaxPcieLinkWidth", "TotalEccErrors",
    )  # fmt: skip
    answers |= {f"nvmlDeviceGet{name}": lambda *_: 4 for name in numbers}
    fake: Any = SimpleNamespace(NVMLError=Exception, **answers)
    return NvmlGpus(lambda: fake)


def cost_of_marks(*, every: bool, count: int = 20_000) -> float:
    """CPU seconds of the marks of a step, on the CPU."""
    division = StepProfile()

    def step() -> None:
        if every:
            division._next = 0
        division.begin()
        for part in ("data", "forward", "backward") * PASSES:
            division.mark(part)
        division.mark("optimizer")
        division.end(1, 1)
        if not every:
            division._next = 1 << 60

    step()
    return cpu_seconds(step, count)


def cpu_seconds(work: Callable[[], object], count: int) -> float:
    """Mean CPU seconds of a call, the best of three rounds."""

    def once() -> float:
        started_at = time.process_time()
        for _ in range(count):
            work()
        return (time.process_time() - started_at) / count

    return min(once() for _ in range(3))


def seconds_of_a_step() -> float:
    """The median step of the example job in an engine of its own."""
    with tempfile.TemporaryDirectory() as directory:
        changes = {"training.max_steps": 60, "training.eval_every": 0}
        job = jobs.load_job(EXAMPLE, [f"{name}={value}" for name, value in changes.items()])
        folder = run_folder.create_run(Path(directory), job)
        command = [sys.executable, "-m", "tui_trainer.engine", str(folder.path)]
        subprocess.run(command, check=True, capture_output=True)
        lines = folder.metrics_file.read_bytes().splitlines()
    times = [json.loads(line).get("step_time_ms") for line in lines]
    return float(statistics.median(time for time in times if time is not None)) / 1000


if __name__ == "__main__":
    main()
