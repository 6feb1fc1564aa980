"""Stories: a folder of runs is written, keys are pressed, the screen is read."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.job import DataSettings, Job, TrainingSettings
from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.runs.run import Command, Event, RunInfo, RunState
from tui_trainer.contracts.settings import Settings
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.store import atomic
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.common.protocols import OpenSession, Services
from tui_trainer.watch.folder_watcher import FolderWatcher
from tui_trainer.watch.runs import hang_detector

PATIENCE = 60.0  # seconds until a story gives up; nothing is asserted about time


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the story's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TUI_TRAINER_HOME", str(folder))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return folder


@pytest.fixture(autouse=True)
def no_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a story stands still for as long as the story takes; that is no hang."""
    monkeypatch.setattr(hang_detector, "LEAST_SECONDS", math.inf)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def make_run(runs_dir: Path) -> Callable[..., RunFolder]:
    """Writes a whole run folder: `make_run("name", status="training", steps=60)`."""

    def make(
        name: str, status: str = "training", steps: int = 60, *, age: float = 0.0,
        message: str = "", host: str | None = None, log: str = "", alive: bool = True,
    ) -> RunFolder:  # fmt: skip
        folder = RunFolder(runs_dir / f"{name}-id")
        folder.path.mkdir()
        now = time.time() - age
        atomic.write_json(folder.info_file, _info(name, now))
        _write_metrics(folder, steps, now)
        write_state(folder, status, steps, now, message, host, alive)
        folder.log_file.write_text(log)
        return folder

    return make


@pytest.fixture
def add_step() -> Callable[[RunFolder, int, float], None]:
    """Appends one training line."""
    return append_step


@pytest.fixture
def engine() -> Iterator[Callable[[RunFolder, int], None]]:
    """Plays an engine that obeys commands: `engine(folder, step)`."""
    left = threading.Event()
    threads: list[threading.Thread] = []

    def play(folder: RunFolder, step: int) -> None:
        thread = threading.Thread(target=_acknowledge, args=(folder, step, left), daemon=True)
        threads.append(thread)
        thread.start()

    yield play
    left.set()
    for thread in threads:
        thread.join()


class FakeSampler:
    """A machine that never changes."""

    def sample(self) -> HardwareSample:
        return HardwareSample(
            time=0.0, cpu_percent=38.0, ram_used=3 * 2**30, ram_total=16 * 2**30,
            disk_free=80 * 2**30, gpu_message="no NVIDIA driver",
        )  # fmt: skip


class FakeSupervisor:
    """Remembers what it was asked; `end` tells the app that an engine is gone."""

    def __init__(self, on_end: Callable[[EngineEnd], None]) -> None:
        self.on_end = on_end
        self.started: list[Path] = []
        self.asked: list[tuple[str | None, float | None]] = []
        self.attached: list[Path] = []

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None:
        self.started.append(folder.path)
        self.asked.append((from_checkpoint, rate))

    def attach(self, folder: RunFolder) -> None:
        self.attached.append(folder.path)

    def stop_watching(self) -> None:
        pass


def no_chat(*_: object) -> Any:
    """For stories without a chat."""
    raise UserError("the chat needs torch; install with: pip install tui-trainer[train]")


@pytest.fixture
def session(runs_dir: Path) -> Callable[..., TrainerApp]:
    """The app over the folder, with the real watcher and a fake machine and supervisor."""

    def make(
        root: Path = runs_dir,
        settings: Settings | None = None,
        chat: OpenSession = no_chat,
        **options: Any,
    ) -> TrainerApp:
        services = Services(
            watch=lambda on_change: FolderWatcher(root, on_change, poll_seconds=0.1),
            sampler=lambda pid, path: FakeSampler(),
            supervisor=FakeSupervisor,
            chat=chat,
        )
        return TrainerApp(root, settings=settings or Settings(), services=services, **options)

    return make


@pytest.fixture
def text_of() -> Callable[[TrainerApp], str]:
    """What stands on the screen."""
    return screen_text


@pytest.fixture
def shown_notices() -> Callable[[TrainerApp], str]:
    """The notices that are up, whole: on the screen they are wrapped."""
    return lambda app: "\n".join(
        str(notice.message).replace("\n", "") for notice in app._notifications
    )


@pytest.fixture
def seen() -> Callable[..., Awaitable[None]]:
    """Waits until every text stands on the screen: `await seen(app, "loss", "step")`."""

    async def wait(app: TrainerApp, *texts: str) -> None:
        await _until(lambda: all(text in screen_text(app) for text in texts), app)

    return wait


@pytest.fixture
def becomes() -> Callable[..., Awaitable[None]]:
    """Waits until something holds: `await becomes(app, lambda: ...)`."""

    async def wait(app: TrainerApp, holds: Callable[[], bool]) -> None:
        await _until(holds, app)

    return wait


async def _until(holds: Callable[[], bool], app: TrainerApp) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"it did not come; on the screen:\n{screen_text(app)}"
        await asyncio.sleep(0.02)


def screen_text(app: TrainerApp) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in strips)


def append_step(folder: RunFolder, step: int, loss: float) -> None:
    with atomic.appending(folder.metrics_file) as lines:
        lines.append(_step(step, loss, time.time()))


def write_state(
    folder: RunFolder, status: str, step: int, now: float, message: str = "",
    host: str | None = None, alive: bool = True,
) -> None:  # fmt: skip
    process = psutil.Process()
    state = RunState(
        state=msgspec.convert(status, type=Any),
        step=step,
        total_steps=240,
        epoch=step / 30,
        total_epochs=8.0,
        pid=os.getpid() if alive else 2**22 - 7,
        pid_created=process.create_time(),
        host=host or socket.gethostname(),
        updated_at=now,
        eta_seconds=125.0,
        elapsed_seconds=42.0,
        tokens_per_second=18_402.0,
        best_val_loss=1.25,
        best_step=40,
        message=message,
    )
    run_folder.write_state(folder, state)


def _info(name: str, now: float) -> RunInfo:
    job = Job(
        name=name,
        data=DataSettings(train="/data/train.jsonl", validation="/data/test.jsonl"),
        training=TrainingSettings(max_steps=240),
    )
    return RunInfo(
        id=f"{name}-id", name=name, created_at=now, job=job, base_model="builtin", base_path=None,
        base_hash=None, data_hash="0" * 64, data_files={}, versions={"torch": "2.13"}, host="here",
        seed=42,
    )  # fmt: skip


def _write_metrics(folder: RunFolder, steps: int, now: float) -> None:
    with atomic.appending(folder.metrics_file) as lines:
        for step in range(1, steps + 1):
            lines.append(_step(step, 1.2 + 2 * math.exp(-step / 40), now - steps + step))
            if step % 20 == 0:
                value = 1.25 + 2 * math.exp(-step / 40)
                lines.append(EvalRecord(step=step, epoch=step / 30, val_loss=value, time=now))
    with atomic.appending(folder.events_file) as events:
        for step in range(20, steps + 1, 20):
            text = f"checkpoint step-{step:08} saved"
            events.append(Event(time=now, step=step, kind="checkpoint", message=text))


def _step(step: int, loss: float, when: float) -> TrainRecord:
    return TrainRecord(
        step=step, epoch=step / 30, loss=loss, learning_rate=2e-4 * (1 - step / 1000),
        gradient_norm=0.81, step_time_ms=41.2, tokens=812, examples=8, time=when,
    )  # fmt: skip


def _acknowledge(folder: RunFolder, step: int, left: threading.Event) -> None:
    done: set[str] = set()
    while not left.wait(0.01):
        for command in folder.commands():
            if command.id not in done:
                done.add(command.id)
                _carry_out(folder, command, step)


def _carry_out(folder: RunFolder, command: Command, step: int) -> None:
    answers = {
        "pause": ("paused", f"paused at step {step}"),
        "resume": ("training", f"resumed at step {step}"),
        "stop": ("cancelled", f"stopped at step {step} and saved"),
        "checkpoint": ("training", f"checkpoint at step {step} written"),
        "set-lr": ("training", f"learning rate set to {command.arguments.get('learning_rate')}"),
        "apply": ("training", f"advice {command.arguments.get('advice')} is applied"),
        "rollback": ("training", "going back, and on with another rate"),
        "skip-evaluation": ("training", f"evaluation at step {step} cancelled"),
        "mute": ("training", f"no more advice on {command.arguments.get('kind')}"),
    }
    status, message = answers[command.command]
    write_state(folder, status, step, time.time(), message)
    with atomic.appending(folder.events_file) as events:
        events.append(
            Event(
                time=time.time(), step=step, kind="command", message=message, id=command.id,
                detail={"command": command.command, "accepted": True},
            )
        )  # fmt: skip
