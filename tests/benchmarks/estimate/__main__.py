"""`python -m tests.benchmarks.estimate`: what is predicted of six jobs, and what their runs take.

Each job is estimated and then run, one after the other, each in a process of its own, `--repeats`
times; the table shows the medians. Memory is the engine's largest resident size, disk the most
that its run folder took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.benchmarks.estimate.cases import make_jobs
from tui_trainer.contracts.estimate import Estimate
from tui_trainer.contracts.job import Job
from tui_trainer.launch.engine_process import engine_command
from tui_trainer.launch.preflight import ask
from tui_trainer.store import child_process
from tui_trainer.store.runs import run_folder

MIB = 1 << 20
FACTS = ("seconds", "peak_bytes", "disk_bytes")


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.estimate")
    parser.add_argument("--jobs", help="only those whose name contains this")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    print("| job | seconds | | peak MiB | | disk MiB | |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="estimate-") as directory:
        rows = []
        for name, job in make_jobs(Path(directory)).items():
            if options.jobs and options.jobs not in name:
                continue
            rows.append(row(name, job, Path(directory), options.repeats))
            print(json.dumps(rows[-1]) if options.json else line(rows[-1]), flush=True)
        worst = max(abs(found[f"{fact}_error"]) for found in rows for fact in FACTS)
        load = os.getloadavg()[0]
        print(f"largest error {worst:.0%}; load {load:.1f} on {os.cpu_count()} processors")


def row(name: str, job: Job, directory: Path, repeats: int) -> dict[str, Any]:
    """Medians of the estimates and of the measurements of a job, and their relative errors."""
    predicted: dict[str, list[float]] = {fact: [] for fact in FACTS}
    measured: dict[str, list[float]] = {fact: [] for fact in FACTS}
    for _ in range(repeats):
        found = ask("estimate", job, Estimate)
        taken = run(job, directory)
        for fact in FACTS:
            predicted[fact].append(getattr(found, fact))
            measured[fact].append(taken[fact])
    result: dict[str, Any] = {"job": name, "load": round(os.getloadavg()[0], 1)}
    for fact in FACTS:
        result[f"{fact}_predicted"] = median(predicted[fact])
        result[f"{fact}_measured"] = median(measured[fact])
        result[f"{fact}_error"] = median(predicted[fact]) / median(measured[fact]) - 1
    return result


def run(job: Job, directory: Path) -> dict[str, float]:
    """Trains the job and gives its seconds, its largest resident size and its folder's."""
    folder = run_folder.create_run(directory / "runs", job)
    started_at = time.monotonic()
    process = subprocess.Popen(
        [*engine_command(), str(folder.path)],
        stdout=subprocess.DEVNULL,
        env=child_process.environment(),
    )
    disk = 0
    engine = psutil.Process(process.pid)
    while engine.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        disk = max(disk, size(folder.path))
        time.sleep(0.05)
    seconds = time.monotonic() - started_at
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, (folder.state(), folder.log_tail())
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": seconds, "peak_bytes": usage.ru_maxrss * unit, "disk_bytes": disk}


def size(folder: Path) -> int:
    """Bytes of a folder's files; one that vanishes meanwhile counts nothing."""
    total = 0
    for directory, _, names in os.walk(folder):  # passes over folders that vanish
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118
            except OSError:
                continue
    return total


def line(found: dict[str, Any]) -> str:
    """A row of the table, in Markdown."""
    cells = [f"| {found['job']}"]
    for fact, unit, digits in (("seconds", 1, 1), ("peak_bytes", MIB, 0), ("disk_bytes", MIB, 1)):
        values = [found[f"{fact}_{kind}"] / unit for kind in ("predicted", "measured")]
        cells.append(f"{values[0]:.{digits}f} / {values[1]:.{digits}f}")
        cells.append(f"{found[f'{fact}_error']:+.0%}")
    return " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
