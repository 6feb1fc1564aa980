"""Step profiles: of real small jobs on the CPU, and of a fake GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch

from tests.engine.conftest import MakeRun
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.engine import loop
from tui_trainer.engine.records import step_profile as dividing
from tui_trainer.engine.records.step_profile import StepProfile
from tui_trainer.engine.state.session import Session
from tui_trainer.hardware.bottleneck import Bottleneck, find_bottleneck
from tui_trainer.hardware.recorder import with_division
from tui_trainer.hardware.sampler import Sampler
from tui_trainer.store.runs.run_folder import RunFolder

QUIET = {"max_steps": 40, "eval_every": 0, "checkpoint_every": 0}


class NoGpus:
    message: str | None = "no GPU"

    def read(self, run_pid: int | None = None) -> list[Any]:
        return []

    def driver(self) -> str | None:
        return None

    def cuda(self) -> str | None:
        return None


def trained(
    folder: RunFolder,
    run_engine: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[], object] = lambda: None,
) -> HardwareSample:
    """Train in this process and return a hardware sample of the time of training."""
    original = loop.train
    taken: list[HardwareSample] = []

    def watched(session: Session) -> Any:
        before()
        sampler = Sampler(os.getpid(), folder.path, NoGpus())
        state = original(session)
        taken.append(with_division(sampler.sample(), session.step_profile.latest()))
        return state

    monkeypatch.setattr(loop, "train", watched)
    assert run_engine(folder) == 0
    return taken[0]


def alone(sample: HardwareSample) -> HardwareSample:
    """The sample without the CPU use of other processes."""
    return msgspec.structs.replace(sample, cpu_percent=sample.run_cpu_percent)


def verdict(sample: HardwareSample) -> Bottleneck:
    found = find_bottleneck([sample])
    assert found is not None
    return found


def test_the_parts_sum_to_the_step(
    make_run: MakeRun, run_engine: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine that is busy every step may count as a long one, which is profiled each time.
    monkeypatch.setattr(dividing, "_LONG_SECONDS", float("inf"))
    sample = trained(make_run(training=QUIET), run_engine, monkeypatch)
    found = sample.division
    assert found is not None and found.device == "cpu"
    parts = (
        found.data_ms,
        found.forward_ms,
        found.backward_ms,
        found.optimizer_ms,
        found.reporting_ms,
    )
    assert all(part > 0 for part in parts)
    assert sum(parts) <= found.step_ms
    assert sum(parts) == pytest.approx(found.step_ms, rel=0.05)
    assert found.steps == 5  # of 40: the second and every eighth
    assert found.tokens_per_second and found.flops and found.memory_peak
    assert found.utilisation is None  # nobody states a peak for this processor


def test_a_compute_bound_job(
    make_run: MakeRun, run_engine: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_run(training={**QUIET, "batch_size": 16})
    sample = trained(job, run_engine, monkeypatch)
    assert verdict(alone(sample)).kind == "compute"


def test_a_data_bound_job(
    make_run: MakeRun, run_engine: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Session.collate
    ended = time.monotonic()

    def slow(session: Session, examples: list[Any]) -> Any:
        # As long as everything since the last call, so that a busy machine changes nothing.
        nonlocal ended
        time.sleep(max(0.05, time.monotonic() - ended))
        ended = time.monotonic()
        return original(session, examples)

    monkeypatch.setattr(Session, "collate", slow)
    sample = trained(make_run(training={**QUIET, "max_steps": 12}), run_engine, monkeypatch)
    found = verdict(alone(sample))
    assert (found.kind, found.label) == ("data", "data-bound")


@pytest.fixture
def one_processor() -> Iterator[None]:
    """This process, and what it starts, on one processor only."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.fail("needs a system on which processors can be chosen")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.slow
def test_a_job_slowed_by_busy_processes(
    make_run: MakeRun,
    run_engine: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    one_processor: None,
) -> None:
    busy: list[subprocess.Popen[bytes]] = []

    def crowd() -> None:
        spin = "import os\nwhile True: pass"
        busy.extend(subprocess.Popen([sys.executable, "-c", spin]) for _ in range(3))
        time.sleep(0.3)

    job = make_run(training={**QUIET, "max_steps": 60, "batch_size": 16})
    try:
        sample = trained(job, run_engine, monkeypatch, crowd)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    found = verdict(sample)
    assert (found.kind, found.label) == ("starved", "starved by another process")


class Clock:
    """Fake CUDA events of an asynchronous GPU: each is at the end of the work queued so far."""

    def __init__(self) -> None:
        self.queued = 0.0
        self.reached = 0.0

    def Event(self, enable_timing: bool) -> Any:  # noqa: N802  (torch's name)
        assert enable_timing
        event = SimpleNamespace(at=0.0)
        event.record = lambda: setattr(event, "at", self.queued)
        event.query = lambda: event.at <= self.reached
        event.elapsed_time = lambda other: 1000 * (other.at - event.at)
        return event


def test_marks_on_a_gpu_do_not_synchronise(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(torch.cuda, "Event", clock.Event)
    monkeypatch.setattr(dividing, "_memory", lambda _: (1, 2, 3))
    division = StepProfile(torch.device("cuda", 0))
    for step in range(1, 4):
        division.begin()
        for part, seconds in (("data", 0.1), ("forward", 0.2), ("backward", 0.4)):
            clock.queued += seconds
            division.mark(part)
        clock.queued += 0.05
        division.mark("optimizer")
        division.end(step, tokens=10)
        assert division.latest() is None  # the GPU has done nothing yet
    clock.reached = clock.queued
    division.begin()
    found = division.latest()
    assert found is not None and (found.step, found.steps) == (2, 1)
    assert (found.data_ms, found.forward_ms, found.backward_ms) == (100.0, 200.0, 400.0)
    assert found.optimizer_ms == pytest.approx(50.0)
    assert (found.memory_allocated, found.memory_reserved, found.memory_peak) == (1, 2, 3)


def test_samples_of_a_run_contain_the_step_profile(
    make_run: MakeRun, run_engine: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The samples in the run folder."""
    original = loop.step

    def slow(session: Session) -> Any:
        time.sleep(0.02)
        return original(session)

    monkeypatch.setattr(loop, "step", slow)
    folder = make_run(training={**QUIET, "max_steps": 20})
    assert run_engine(folder) == 0
    lines = folder.hardware_file.read_bytes().splitlines()
    samples = [msgspec.json.decode(line, type=HardwareSample) for line in lines]
    assert samples[-1].division is not None
    assert b"null" not in lines[-1]  # what is not known takes no room
