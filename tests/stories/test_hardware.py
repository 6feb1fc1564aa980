"""The machine as a whole: opened, zoomed, closed; and what a finished run recorded."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.events import MouseScrollDown

from tests.stories import conftest as stories
from tui_trainer.contracts.advice import AdvisorSettings
from tui_trainer.contracts.hardware import GpuSample, HardwareSample
from tui_trainer.contracts.runs.run import Event
from tui_trainer.contracts.settings import Settings
from tui_trainer.store import atomic
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.common.protocols import Services
from tui_trainer.tui.run_charts.viewport import ALL
from tui_trainer.watch.folder_watcher import FolderWatcher

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Seen = Callable[..., Awaitable[None]]
Text = Callable[[TrainerApp], str]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_h_shows_what_a_finished_run_recorded(
    make_run: MakeRun, session: Session, seen: Seen, text_of: Text, size: tuple[int, int]
) -> None:
    folder = make_run("done", status="completed")
    now = time.time()
    gpu = GpuSample(index=0, name="NVIDIA H200", utilisation=93.0, temperature=61.0)
    samples = [HardwareSample(time=now - 60 + at, cpu_percent=71.0, gpus=[gpu]) for at in range(9)]
    lines = b"".join(msgspec.json.encode(sample) + b"\n" for sample in samples)
    folder.hardware_file.write_bytes(lines)
    app: Any = session()
    async with app.run_test(size=size) as pilot:
        await seen(app, "done")
        await pilot.press("h")
        await seen(app, "recorded by done", "GPU 93 %", "0 H200")
        page = app.screen
        await pilot.press("plus", "plus")
        assert page.viewport.follows and page.viewport.width == pytest.approx(8 * 0.36)
        await pilot.press("left")
        assert page.viewport.high == pytest.approx(now - 52 - 8 * 0.36 / 4)
        await pilot._post_mouse_events([MouseScrollDown], "#hardware-curve-0", offset=(20, 2))
        assert page.viewport.width == pytest.approx(8 * 0.6)
        await pilot.press("0")
        assert page.viewport == ALL
        await pilot.press("]")
        await seen(app, "RAM –" if size[0] > 150 else "GPU temperature 61 °C")
        await pilot.press("[")
        await seen(app, "GPU 93 %")
        assert len(text_of(app).split("\n")) == size[1]
        await pilot.press("escape")
        assert type(app.screen).__name__ == "DashboardScreen"
        await pilot.click("#hardware-panel")
        await seen(app, "recorded by done", "esc close")


async def test_the_hardware_page_is_zoomed_as_the_charts_are(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    """From a stretch of the loss to what the machine did meanwhile."""
    folder = make_run("done", status="completed", steps=60)
    times = [json.loads(line)["time"] for line in folder.metrics_file.read_text().splitlines()]
    samples = [HardwareSample(time=min(times) + at, cpu_percent=71.0) for at in range(-5, 65)]
    lines = b"".join(msgspec.json.encode(sample) + b"\n" for sample in samples)
    folder.hardware_file.write_bytes(lines)
    app: Any = session()
    async with app.run_test(size=(120, 40)) as pilot:
        await seen(app, "done", "loss")
        await pilot.press("plus", "left")
        times_shown = app.screen.times_shown()
        assert times_shown.width is not None and not times_shown.follows
        await pilot.press("h")
        await seen(app, "recorded by done")
        pane = app.screen.query_one("#hardware-curve-0")
        low, high = pane._spec.x_range
        assert (low, high) == (times_shown.high - times_shown.width, times_shown.high)
        assert min(times) <= low < high < max(times)


def warn(folder: RunFolder, alarm: str, opens: bool, message: str) -> None:
    with atomic.appending(folder.events_file) as events:
        detail = {"alarm": alarm, "open": opens}
        events.append(
            Event(time=time.time(), step=60, kind="warning", message=message, detail=detail)
        )


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_hardware_warnings_are_shown_with_the_advice_while_open(
    make_run: MakeRun, session: Session, seen: Seen, text_of: Text, becomes: Becomes,
    size: tuple[int, int],
) -> None:  # fmt: skip
    folder = make_run("lighthouse")
    alone = Settings(advisor=AdvisorSettings(enabled=False))  # it speaks of steps that hang
    app = session(settings=alone)
    async with app.run_test(size=size) as pilot:
        await seen(app, "lighthouse")
        warn(folder, "gpu2_heat", True, "GPU 2 is at 89 °C: it slows down at 90 °C")
        await seen(app, "▲ high  GPU 2 heat", "GPU 2 is at 89 °C")
        warn(folder, "disk", True, "the disk of the run has 0.4 GiB free: free some")
        await seen(app, "▲ high  disk")
        warn(folder, "disk", False, "the disk of the run has 9.0 GiB free again")
        await becomes(app, lambda: "▲ high  disk" not in text_of(app) and "GPU 2" in text_of(app))
        await pilot.press("A")
        await becomes(app, lambda: "▲" not in text_of(app))
        warn(folder, "checkpoint_room", True, "no checkpoint at step 60: the disk is full")
        await seen(app, "▲ high  no checkpoints")


async def test_a_run_on_another_host_shows_its_recorded_samples(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    folder = make_run("far", host="elsewhere")
    gpu = GpuSample(index=0, name="NVIDIA H200", utilisation=93.0)
    recorded = HardwareSample(time=time.time() - 5, cpu_percent=71.0, gpus=[gpu])
    folder.hardware_file.write_bytes(msgspec.json.encode(recorded) + b"\n")
    app = session()
    async with app.run_test(size=(120, 40)) as pilot:
        await seen(app, "far")
        await pilot.press("h")
        await seen(app, "recorded by far on elsewhere", "0 H200", "93 %", "ECC –")
        with atomic.appending(folder.hardware_file) as lines:
            later = [msgspec.structs.replace(gpu, utilisation=12.0)]
            lines.append(HardwareSample(time=time.time(), gpus=later))
        await seen(app, "12 %")


async def test_a_driver_that_hangs_freezes_no_screen(
    make_run: MakeRun, runs_dir: Path, seen: Seen
) -> None:
    left = threading.Event()
    asked = threading.Event()

    class Hung:
        def sample(self) -> HardwareSample:
            asked.set()
            left.wait(stories.PATIENCE)
            return HardwareSample(time=0.0)

    make_run("lighthouse")
    services = Services(
        watch=lambda on_change: FolderWatcher(runs_dir, on_change, poll_seconds=0.1),
        sampler=lambda pid, path: Hung(),
        supervisor=stories.FakeSupervisor,
        chat=stories.no_chat,
    )
    app = TrainerApp(runs_dir, settings=Settings(), services=services)
    try:
        async with app.run_test(size=(100, 30)) as pilot:
            await seen(app, "lighthouse", "loss")
            while not asked.is_set():
                await pilot.pause(0.05)
            await pilot.press("h")
            await seen(app, "no hardware sample yet")
            await pilot.press("escape", "2")
            await seen(app, "1 run")
    finally:
        left.set()
