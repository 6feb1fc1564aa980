"""Folders of runs for the watcher's stories, and what listens to it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tui_trainer.contracts.job import DataSettings, Job
from tui_trainer.contracts.runs.run import RunInfo, RunState
from tui_trainer.store import atomic
from tui_trainer.watch.folder_watcher import FolderWatcher
from tui_trainer.watch.snapshots import FolderView, RunView

POLL = 0.05
NEVER = 3600.0
PATIENCE = 20.0


class Sink:
    """Collects views and waits for one that fits."""

    def __init__(self) -> None:
        self.views: list[FolderView] = []
        self._changed = threading.Condition()

    def __call__(self, view: FolderView) -> None:
        with self._changed:
            self.views.append(view)
            self._changed.notify_all()

    def wait(self, fits: Callable[[FolderView], bool]) -> FolderView:
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while not (self.views and fits(self.views[-1])):
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    pytest.fail(f"never told; last: {self.views[-1:]}")
            return self.views[-1]


@contextmanager
def watching(
    root: Path, poll: float = POLL, focus: Path | None = None
) -> Iterator[tuple[FolderWatcher, Sink]]:
    """A watcher at work; a `focus` is set before it looks for the first time."""
    sink = Sink()
    watcher = FolderWatcher(root, sink, poll_seconds=poll, check_seconds=poll)
    watcher.focus(focus)
    watcher.start()
    try:
        yield watcher, sink
    finally:
        watcher.stop()


def make_run(folder: Path, created: float = 1000.0, state: str = "completed", **more: Any) -> Path:
    folder.mkdir(parents=True)
    info = RunInfo(
        id=folder.name, name=folder.name, created_at=created,
        job=Job(data=DataSettings(train="t.jsonl")), base_model="builtin", base_path=None,
        base_hash=None, data_hash="h", data_files={}, versions={}, host=socket.gethostname(),
        seed=1,
    )  # fmt: skip
    set_state(folder, state, **more)
    atomic.write_json(folder / "run.json", info)
    return folder


def set_state(folder: Path, state: str, **more: Any) -> None:
    me = psutil.Process()
    known = {"pid": me.pid, "pid_created": me.create_time(), "host": socket.gethostname()}
    record = msgspec.convert({"state": state, **known, **more}, RunState)
    atomic.write_json(folder / "state.json", record, durable=False)


def add_rows(path: Path, *steps: int) -> None:
    with path.open("a") as file:
        for step in steps:
            file.write(json.dumps({"kind": "train", "step": step, "loss": 10.0 - step}) + "\n")


def focused(view: FolderView) -> RunView:
    assert view.focused is not None
    return view.focused


def is_focused(name: str, rows: int | None = None) -> Callable[[FolderView], bool]:
    def fits(view: FolderView) -> bool:
        run = view.focused
        return (
            run is not None
            and run.summary.path.name == name
            and (rows is None or len(run.train) == rows)
        )

    return fits
