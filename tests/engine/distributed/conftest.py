"""What the tests of several processes share."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest

from tui_trainer.store.runs.run_folder import RunFolder

Start = Callable[..., subprocess.Popen[bytes]]

LAUNCH_TWO = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
NO_DROPOUT = {"rank": 4, "alpha": 8, "dropout": 0.0}  # its random numbers differ by process


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the engine in new processes, with output to `engine.log`; all end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(
        folder: RunFolder,
        module: Sequence[str] = (),
        script: str | None = None,
        *arguments: str,
    ) -> subprocess.Popen[bytes]:
        engine = ["-m", "tui_trainer.engine"] if script is None else [script]
        command = [sys.executable, *module, *engine, str(folder.path), *arguments]
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
