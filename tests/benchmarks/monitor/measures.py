"""What is measured, one function a figure. Times in seconds, sizes in bytes, shares 0..1."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.monitor.feeder import CYCLE, Feeder, Recording
from tests.benchmarks.monitor.subjects import Ours, Subject
from tests.benchmarks.monitor.terminal import Replay, Terminal

_LEAST_TEXT = 20  # visible characters that make a first paint
_PATIENCE = 120.0


@dataclass(frozen=True)
class Lag:
    """From a row's write to the screen that shows it or a later one."""

    p50: float
    p95: float
    seen: int
    missed: int


def show(subject: Subject, path: Path) -> Terminal:
    """The program in a terminal, on a run."""
    return Terminal(subject.command(path), subject.environment, Path.cwd())


def first_paint(subject: Subject, recording: Recording) -> float:
    """From the start of the process to the first words on the screen."""
    terminal = show(subject, recording.path)
    try:
        return terminal.wait(lambda text: len("".join(text.split())) >= _LEAST_TEXT, _PATIENCE)
    finally:
        terminal.close()


def complete(subject: Subject, recording: Recording, rows: int) -> tuple[float, int]:
    """From the start of the process until the run's last row is on the screen and nothing is
    being read any more; and the peak memory two seconds later."""
    terminal = show(subject, recording.path)
    try:
        at = terminal.wait(lambda text: subject.newest(text) == (rows - 1) % CYCLE, _PATIENCE)
        time.sleep(2.0)
        return at, terminal.peak_bytes()
    finally:
        terminal.close()


def idle(subject: Subject, recording: Recording, rows: int, seconds: float) -> float:
    """Share of a core while nothing is written."""
    terminal = settled(subject, recording, rows)
    try:
        return terminal.cpu_share(seconds)
    finally:
        terminal.close()


def live(
    subject: Subject, recording: Recording, rows: int, rate: float, seconds: float
) -> tuple[float, Lag]:
    """Share of a core while rows arrive at `rate`, and how long they take to the screen."""
    terminal = settled(subject, recording, rows)
    try:
        with Feeder(recording, rate) as feeder:
            time.sleep(1.0)
            share = terminal.cpu_share(seconds)
        time.sleep(3.0)
        written = [at - terminal.begun for at in feeder.written]
        return share, lag(subject, terminal.pieces, rows, written)
    finally:
        terminal.close()


def settled(subject: Subject, recording: Recording, rows: int) -> Terminal:
    """The program on a run, some seconds after it has shown all of it."""
    terminal = show(subject, recording.path)
    try:
        terminal.wait(lambda text: subject.newest(text) == (rows - 1) % CYCLE, _PATIENCE)
    except BaseException:
        terminal.close()
        raise
    time.sleep(4.0)
    return terminal


def lag(
    subject: Subject, pieces: Sequence[tuple[float, bytes]], rows: int, written: Sequence[float]
) -> Lag:
    """How long rows took to the screen; a row is seen with the first screen that shows it or
    one after it. Raises `ValueError` where none was seen."""
    delays: list[float] = []
    waiting = 0
    for at, screen in Replay(pieces).screens():
        newest = subject.newest(screen)
        if newest is None or not written or at < written[0]:
            continue
        shown = (newest - rows) % CYCLE  # as an index of the rows that came
        if shown >= len(written) or written[shown] > at:
            continue  # still the last row of before
        while waiting <= shown:
            delays.append(at - written[waiting])
            waiting += 1
    if len(delays) < 2:
        raise ValueError("no new row came to the screen")
    ways = statistics.quantiles(delays, n=20, method="inclusive")
    return Lag(statistics.median(delays), ways[18], len(delays), len(written) - len(delays))


def list_runs(subject: Ours, folder: Path, shown: int) -> float:
    """From the start of the process until the list of runs shows a screenful of filled rows;
    its key is pressed as soon as anything is painted."""
    terminal = show(subject, folder)
    try:
        terminal.wait(lambda text: "Runs" in text, _PATIENCE)
        terminal.press("2")
        return terminal.wait(
            lambda text: sum("run-" in row and "100" in row for row in text.splitlines()) >= shown,
            _PATIENCE,
        )
    finally:
        terminal.close()


def blocks(subject: Ours, folder: Path) -> dict[str, float]:
    """How long the screen's event loop was held up while the run was read: see `blocks.py`."""
    messages = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.monitor.blocks", str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
        # One thread for numpy, as the command has it.
        env={**os.environ, **subject.environment, "OPENBLAS_NUM_THREADS": "1"},
    )
    found: dict[str, float] = json.loads(messages.stdout)
    return found
