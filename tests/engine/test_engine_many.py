"""Two processes train what one would: the same losses, one run folder, steered as ever."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil
import pytest

from tui_trainer.store.runs import RunFolder

Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]
Start = Callable[..., subprocess.Popen[bytes]]
Wait = Callable[..., None]
MakeRun = Callable[..., RunFolder]

NO_DROPOUT = {"rank": 4, "alpha": 8, "dropout": 0.0}  # its random numbers differ by process


@pytest.fixture
def start() -> Iterator[Start]:
    """The engine in processes of its own, whose words go to `engine.log`; all end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(
        folder: RunFolder, *options: str, module: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, *module, "-m", "tui_trainer.engine", str(folder.path), *options]
        with folder.log_file.open("ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return started[-1]

    yield run
    for process in started:
        for each in family(process):
            with contextlib.suppress(psutil.Error):
                each.kill()
        process.wait()


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A launcher and the processes that it started."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def assert_close(one: RunFolder, two: RunFolder, metrics: Metrics) -> None:
    """The same rows; numbers to what another order of sums in fp32 may change."""
    alone, shared = metrics(one), metrics(two)
    assert alone.keys() == shared.keys()
    for key, row in alone.items():
        assert shared[key].keys() == row.keys()
        for name, value in row.items():
            if isinstance(value, float):
                value = pytest.approx(value, rel=5e-5)
            assert shared[key][name] == value, (key, name)


def test_two_processes_have_the_losses_of_one(
    make_run: MakeRun, run_engine: Callable[..., int], start: Start, metrics: Metrics
) -> None:
    # 16 examples in steps of 5: an epoch's last step has one, and a process has nothing to do.
    settings = {"batch_size": 5, "max_steps": 9}
    one, two = (
        make_run(lora=NO_DROPOUT, training={**settings, "processes": count}) for count in (1, 2)
    )
    together = start(two)
    assert run_engine(one) == 0
    assert together.wait(120) == 0, two.log_tail()
    assert_close(one, two, metrics)
    setup = next(event for event in two.events() if event.kind == "setup")
    assert setup.detail["processes"] == 2
    assert metrics(two)["train", 4]["examples"] == 1
