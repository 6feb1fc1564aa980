"""The programs that are measured: ours, and W&B's terminal UI where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import psutil

from tests.benchmarks.monitor.feeder import CYCLE, Recording, line, row_of_loss
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store import atomic
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder


class Subject(Protocol):
    """A program that shows runs."""

    name: str
    environment: dict[str, str]

    def make(self, folder: Path, rows: int, coming: int = 0) -> Recording:
        """A run with `rows` rows; ended, or live where more are `coming`."""

    def command(self, path: Path) -> list[str]:
        """The command line that shows a run."""

    def newest(self, screen: str) -> int | None:
        """The newest row on the screen, within its cycle."""


class Ours:
    """`tui-trainer monitor`."""

    name = "tui-trainer monitor"

    def __init__(self, home: Path) -> None:
        self.environment = {
            "TUI_TRAINER_HOME": str(home),
            "PYTHONPATH": str(Path(__file__).parents[3]),
        }

    def make(self, folder: Path, rows: int, coming: int = 0) -> Recording:
        run = RunFolder(folder / "run")
        run.path.mkdir(parents=True)
        begun = time.time() - 0.05 * rows
        with run.metrics_file.open("wb") as file:
            file.writelines(line(row, begun) for row in range(rows))
        self._state(run, rows, rows + coming, "training" if coming else "completed")
        return Recording(
            folder,
            run.metrics_file,
            [line(rows + row, begun) for row in range(coming)],
            lambda row: self._state(run, rows + row + 1, rows + coming, "training"),
        )

    def command(self, path: Path) -> list[str]:
        return [sys.executable, "-m", "tui_trainer", "monitor", str(path)]

    def newest(self, screen: str) -> int | None:
        found = re.search(r"\bloss +(\d+(?:\.\d+)?)\b", screen)
        reading = re.search(r"\b(reading|loading)\b", screen)
        return row_of_loss(float(found[1])) if found and not reading else None

    def _state(self, run: RunFolder, step: int, total: int, word: str) -> None:
        own = psutil.Process()
        state = RunState(
            state="training" if word == "training" else "completed",
            step=step,
            total_steps=total,
            pid=own.pid,
            pid_created=own.create_time(),
            host=socket.gethostname(),
            updated_at=time.time(),
            tokens_per_second=20_000.0,
        )
        run_folder.write_state(run, state)


class Leet:
    """`wandb leet`, fed with runs that wandb itself wrote offline."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program = program
        self.environment = {
            "HOME": str(home),
            "WANDB_CONFIG_DIR": str(home),
            "WANDB_CACHE_DIR": str(home),
            "WANDB_MODE": "offline",
            "WANDB_ERROR_REPORTING": "false",
        }
        messages = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, check=True
        )
        self.name = f"wandb leet {messages.stdout.split()[-1]}"

    def make(self, folder: Path, rows: int, coming: int = 0) -> Recording:
        folder.mkdir(parents=True)
        python = self._program.parent / "python"
        script = Path(__file__).with_name("wandb_log.py")
        subprocess.run(
            [str(python), str(script), str(rows + coming), str(folder)],
            env={**os.environ, **self.environment},
            check=True,
            capture_output=True,
        )
        file = next(folder.rglob("*.wandb"))
        if not coming:
            return Recording(file, file)
        data = file.read_bytes()
        ends = [*history_ends(data)]  # what comes before a row belongs to it: its summary
        pieces = [data[a:b] for a, b in pairwise(ends[rows - 1 :])]
        file.write_bytes(data[: ends[rows - 1]])
        return Recording(file, file, pieces)

    def command(self, path: Path) -> list[str]:
        return [str(self._program), "leet", "run", str(path)]

    def newest(self, screen: str) -> int | None:
        found = re.search(r"_step +(\d+)", screen)
        return int(found[1]) % CYCLE if found else None


def history_ends(data: bytes) -> Iterator[int]:
    """Where each row ends in a `.wandb` file: LevelDB's log format in blocks of 32 KiB, each
    record a protobuf message whose field 2 is a row of the history."""
    position, whole = 7, b""
    while position + 7 <= len(data):
        left = 32_768 - position % 32_768
        if left < 7:
            position += left
            continue
        size, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        begun = b"" if kind in (1, 2) else whole  # whole, or its first part
        whole = begun + data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4) and _is_history(whole):  # whole, or its last part
            yield position


def _is_history(record: bytes) -> bool:
    """Whether the field after the record's number (field 1) is field 2."""
    position = 0
    if record[:1] == b"\x08":
        position = 1
        while position < len(record) and record[position] & 0x80:
            position += 1
        position += 1
    return record[position : position + 1] == b"\x12"


def find_wandb(messages: str | None) -> Path | None:
    """The `wandb` program: as said, else on the path; None where there is none."""
    found = messages or shutil.which("wandb")
    return Path(found).absolute() if found else None


def make_folder_of_runs(folder: Path, count: int, rows: int) -> None:
    """Many small ended runs of ours."""
    begun = time.time()
    lines = b"".join(line(row, begun) for row in range(rows))
    for number in range(count):
        run = RunFolder(folder / f"run-{number:03}")
        run.path.mkdir(parents=True)
        run.metrics_file.write_bytes(lines)
        atomic.write_json(
            run.state_file,
            RunState(state="completed", step=rows, total_steps=rows, updated_at=begun),
        )
