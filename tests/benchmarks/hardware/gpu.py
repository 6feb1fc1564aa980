"""`python -m tests.benchmarks.hardware --gpu`: every field of ours beside `nvidia-smi`'s while a
job trains on the GPU, then how its steps divided. Says so where there is no GPU to ask."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.benchmarks.hardware import smi
from tests.benchmarks.throughput.cases import make_base, write_rows
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.hardware.bottleneck import find_bottleneck
from tui_trainer.hardware.nvml import NvmlGpus
from tui_trainer.store import jobs
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder

NOT_AVAILABLE = 3  # exit status
_RUN_APART = 64.0 * smi.MIB  # bytes that the run may take or free between two readings
_START_SECONDS = 300.0  # until the job trains: bases are made and kernels chosen


@dataclass
class Found:
    """What came of the comparison; `alone` are pids that only one side lists."""

    fields: dict[str, smi.Seen] = field(default_factory=dict)
    versions: tuple[Any, Any] = (None, None)
    alone: list[str] = field(default_factory=list)
    run_seen: bool = False
    run_memory: tuple[float | None, float | None] = (None, None)


def check(rounds: int, base: str, as_json: bool) -> int:
    """Compares and prints; gives the exit status: 0 all the same, 1 something differs, 3 there is
    no NVIDIA GPU to be asked."""
    gpus = NvmlGpus()
    ours = gpus.read()
    if not ours or shutil.which("nvidia-smi") is None:
        reason = gpus.message or "nvidia-smi is not installed"
        print(f"not available: {reason}; nothing was compared", file=sys.stderr)
        return NOT_AVAILABLE
    with tempfile.TemporaryDirectory() as directory:
        folder = _job(Path(directory), base)
        command = [sys.executable, "-m", "tui_trainer.engine", str(folder.path)]
        engine = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        try:
            _until_it_trains(folder, engine)
            found = _compare(gpus, engine.pid, rounds)
        finally:
            engine.terminate()
            engine.wait()
        _say(found, _samples(folder), as_json)
    return int(not _all_same(found))


def _job(directory: Path, base: str) -> RunFolder:
    rows = write_rows("words", 2000, directory, None)
    training: dict[str, Any] = {
        "max_steps": 1_000_000,
        "batch_size": 16,
        "learning_rate": 1e-4,
        "eval_every": 0,
        "checkpoint_every": 0,
        "precision": "bf16",
    }
    values: dict[str, Any] = {
        "name": "gpu-check",
        "model": make_base(base, directory, rows),
        "data": {"train": str(rows), "max_length": 512},
        "lora": {"rank": 16, "alpha": 32, "target_modules": "all-linear"},
        "training": training,
    }
    return run_folder.create_run(directory / "runs", jobs.check_job(values, directory, "gpu check"))


def _until_it_trains(folder: RunFolder, engine: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        state = folder.state()
        if state is not None and state.state == "training" and state.step >= 20:
            return
        if engine.poll() is not None:
            raise SystemExit(f"the engine ended: {state.message if state else 'no state'}")
        time.sleep(0.2)
    raise SystemExit(f"the engine did not train within {_START_SECONDS:.0f} s")


def _compare(gpus: NvmlGpus, pid: int, rounds: int) -> Found:
    asked, found = smi.Smi(smi.run), Found()
    for _ in range(rounds):
        before, theirs, after = gpus.read(pid), asked.gpus(), gpus.read(pid)
        for one, their, two in zip(before, theirs, after, strict=True):
            smi.compare(found.fields, one, their, two)
        time.sleep(1.0)
    listed = asked.processes()
    last = gpus.read(pid)
    mine = {process.pid for gpu in last for process in gpu.processes or ()}
    found.run_memory = next((g.memory_run for g in last if g.memory_run), None), listed.get(pid)
    found.alone = [f"{one} (ours)" for one in sorted(mine - set(listed))]
    found.alone += [f"{one} (nvidia-smi's)" for one in sorted(set(listed) - mine)]
    found.run_seen = pid in mine
    driver, cuda = asked.versions()
    found.versions = ((gpus.driver(), driver), (gpus.cuda(), cuda))
    return found


def _samples(folder: RunFolder) -> list[HardwareSample]:
    lines = folder.hardware_file.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=HardwareSample) for line in lines if line.strip()]


def _all_same(found: Found) -> bool:
    ours, theirs = found.run_memory
    if (ours is None) != (theirs is None) or abs((ours or 0) - (theirs or 0)) > _RUN_APART:
        return False
    same = all("DIFFERS" not in entry.verdict for entry in found.fields.values())
    return same and not found.alone and all(ours == theirs for ours, theirs in found.versions)


def _say(found: Found, samples: list[HardwareSample], as_json: bool) -> None:
    divided = [sample for sample in samples if sample.division is not None]
    division, verdict = divided[-1].division if divided else None, find_bottleneck(divided)
    if as_json:
        fields = {
            name: {"ours": entry.ours, "nvidia_smi": entry.theirs, "verdict": entry.verdict}
            for name, entry in found.fields.items()
        }
        document = {
            "fields": fields,
            "driver": found.versions[0],
            "cuda": found.versions[1],
            "processes_alone": found.alone,
            "run_seen": found.run_seen,
            "run_memory": found.run_memory,
            "division": msgspec.to_builtins(division),
            "verdict": verdict.label if verdict else None,
        }
        print(json.dumps(document))
        return
    print("| field | ours | nvidia-smi | largest gap | verdict |\n|---|---|---|---|---|")
    for name, entry in found.fields.items():
        print(f"| {name} | {entry.ours} | {entry.theirs} | {entry.gap:g} | {entry.verdict} |")
    for name, (ours, theirs) in zip(("driver", "CUDA"), found.versions, strict=True):
        same = "same" if ours == theirs else "DIFFERS"
        print(f"| {name} | {ours} | {theirs} | | {same} |")
    print("| the run's memory | {} | {} | | |".format(*found.run_memory))
    print(f"\nprocesses that one side alone lists: {', '.join(found.alone) or 'none'}")
    where = "in" if found.run_seen else "not in"
    print(f"the run is {where} the table of processes (in a container pids are not the host's)")
    if division is not None:
        print(f"\n{msgspec.json.format(msgspec.json.encode(division), indent=2).decode()}")
    print(f"\nverdict: {verdict.label + ': ' + verdict.reason if verdict else 'none'}")
