"""Three real jobs on the CPU, each in an engine of its own: what its run folder says holds it back.

Other work on the machine can starve any of them, so the verdict on the one that nothing holds back
is asked of its own figures alone.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import tui_trainer
from tests.engine.conftest import MakeRun
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.hardware.bottleneck import Bottleneck, find_bottleneck
from tui_trainer.store.runs.run_folder import RunFolder

pytestmark = pytest.mark.slow

PATIENCE = 240.0  # seconds
# The engine; each batch comes `wait` seconds late, as from a slow disk.
ENGINE = """
import sys, time
from tui_trainer.engine.__main__ import main
from tui_trainer.engine.state.session import Session

wait, original = float(sys.argv[1]), Session.collate

def late(session, examples):
    time.sleep(wait)
    return original(session, examples)

if wait:
    Session.collate = late
sys.exit(main([sys.argv[2]]))
"""
LONG = {"max_steps": 1_000_000, "batch_size": 16, "eval_every": 0, "checkpoint_every": 0}


@contextlib.contextmanager
def engine(folder: RunFolder, wait: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
    """The engine on the run, until the context is left."""
    root = str(Path(tui_trainer.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(wait), str(folder.path)],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def crowd(count: int) -> Iterator[None]:
    """Run this process and its children on one CPU that is kept busy by others."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    spin = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(spin) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
        os.sched_setaffinity(0, before)


def samples_of(folder: RunFolder, process: subprocess.Popen[bytes]) -> list[HardwareSample]:
    """The first five samples of the run with a step profile."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, (
            folder.log_file.read_text() if folder.log_file.exists() else ""
        )
        raw = folder.hardware_file.read_bytes() if folder.hardware_file.exists() else b""
        whole = raw[: raw.rfind(b"\n") + 1].splitlines()
        found = [msgspec.json.decode(line, type=HardwareSample) for line in whole]
        divided = [s for s in found if s.division is not None and s.run_cpu_percent is not None]
        if len(divided) >= 5:
            return divided
        time.sleep(0.2)
    raise AssertionError("it did not come to five samples")


def verdict(samples: list[HardwareSample]) -> Bottleneck:
    found = find_bottleneck(samples)
    assert found is not None
    return found


def test_a_data_bound_job(make_run: MakeRun) -> None:
    folder = make_run(training={**LONG, "batch_size": 2})
    with engine(folder, wait=0.4) as process:
        found = verdict(samples_of(folder, process))
    assert (found.kind, found.label) == ("data", "data-bound")
    assert "waiting for data" in found.reason and "faster disk" in found.remedy


def test_a_compute_bound_job(make_run: MakeRun) -> None:
    folder = make_run(training=LONG)
    with engine(folder) as process:
        samples = samples_of(folder, process)
    alone = [msgspec.structs.replace(s, cpu_percent=s.run_cpu_percent) for s in samples]
    found = verdict(alone)
    assert (found.kind, found.label) == ("compute", "compute-bound")
    assert "forward, backward and update" in found.reason and "a GPU" in found.remedy


def test_a_job_slowed_by_other_processes(make_run: MakeRun) -> None:
    folder = make_run(training=LONG)
    with crowd(3), engine(folder) as process:
        found = verdict(samples_of(folder, process))
    assert (found.kind, found.label) == ("starved", "starved by another process")
    assert "of the CPUs" in found.reason and "stop the other processes" in found.remedy
