"""Runs of the real engine on a tiny random base."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.advisor.replay import parse
from tui_trainer.contracts.runs.run import Command, CommandName, Event
from tui_trainer.engine.state import command_source
from tui_trainer.store import atomic, jobs
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
At = Callable[..., None]

TIMES = ("time", "step_time_ms")


@pytest.fixture(autouse=True)
def listening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for commands before every step, since tests count steps."""
    monkeypatch.setattr(command_source, "POLL_SECONDS", 0.0)


@pytest.fixture
def make_run(tmp_path: Path, tiny_base: Path) -> MakeRun:
    """Makes a run folder for a small job; keyword arguments change the job's sections."""

    def make(
        rows: list[dict[str, Any]] | None = None, **changes: dict[str, Any] | str
    ) -> RunFolder:
        train = tmp_path / "train.jsonl"
        if rows is None:
            rows = [
                {"question": f"what is {i}?", "answer": f"the cat {i} sat on {'x' * (i % 7)}"}
                for i in range(20)
            ]
        train.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        values: dict[str, Any] = {
            "name": "small",
            "model": str(tiny_base),
            "data": {"train": str(train), "val_split": 0.2, "max_length": 64},
            "lora": {"rank": 4, "alpha": 8},
            "training": {
                "max_steps": 12,
                "batch_size": 3,
                "learning_rate": 5e-3,
                "warmup_steps": 2,
                "eval_every": 4,
                "checkpoint_every": 3,
            },
        }
        for section, change in changes.items():
            if isinstance(change, dict):
                values[section] = {**values.get(section, {}), **change}
            else:
                values[section] = change
        return run_folder.create_run(
            tmp_path / "runs", jobs.check_job(values, tmp_path, "test job")
        )

    return make


@pytest.fixture(autouse=True)
def own_signal_handlers() -> Iterator[None]:
    """Restores what an engine in this process sets."""
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in watched]
    yield
    for number, handler in zip(watched, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def run_engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The engine in this process: gives its exit status."""
    from tui_trainer.engine import setup
    from tui_trainer.engine.__main__ import main

    monkeypatch.setattr(setup, "usable_threads", lambda: 1)

    def run(folder: RunFolder, *options: str) -> int:
        return main([str(folder.path), *options])

    return run


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> At:
    """Issue each command after the given number of steps."""
    from tui_trainer.engine import execute_commands, loop

    plans: list[tuple[int, CommandName, dict[str, Any]]] = []
    original = execute_commands.execute_commands

    def execute(session: Any) -> Any:
        for plan in [plan for plan in plans if plan[0] == session.state.step]:
            plans.remove(plan)
            with atomic.appending(session.folder.control_file) as lines:
                id = "-".join(map(str, (plan[0], plan[1], time.monotonic())))
                lines.append(Command(id=id, time=time.time(), command=plan[1], arguments=plan[2]))
        return original(session)

    def plan(step: int, command: CommandName, **arguments: Any) -> None:
        plans.append((step, command, arguments))

    monkeypatch.setattr(loop, "execute_commands", execute)
    return plan


@pytest.fixture
def start_engine() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """The engine in a process of its own, ended with the test."""
    started = []

    def start(folder: RunFolder, *options: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tui_trainer.engine", str(folder.path), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def lines(file: Path) -> list[dict[str, Any]]:
    """Every whole JSON line of a file."""
    found = []
    for line in file.read_bytes().split(b"\n"):
        try:
            found.append(msgspec.json.decode(line))
        except msgspec.DecodeError:
            continue
    return found


def rows_that_stand(folder: RunFolder) -> dict[int, tuple[float, float]]:
    """Step -> (loss, rate), as last written."""
    rows, rejected = parse(folder.metrics_file.read_bytes())
    assert rejected == 0
    return {r["step"]: (r["loss"], r["learning_rate"]) for r in rows if r["kind"] == "train"}


def rollbacks(folder: RunFolder) -> list[Event]:
    """The events of a run that was rolled back."""
    return [event for event in folder.events() if event.kind == "rollback"]


@pytest.fixture
def metrics() -> Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]:
    """(kind, step) -> the last row written for it, without its clock times."""

    def read(folder: RunFolder) -> dict[tuple[str, int], dict[str, Any]]:
        return {
            (row["kind"], row["step"]): {k: v for k, v in row.items() if k not in TIMES}
            for row in lines(folder.metrics_file)
        }

    return read


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Wait until a condition is true; fail after a timeout."""

    def wait(condition: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.001)

    return wait
