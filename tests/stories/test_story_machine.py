"""The machine as a whole: opened, zoomed, closed; and what a finished run recorded."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tui_trainer.contracts.hardware import GpuSample, HardwareSample
from tui_trainer.store.runs import RunFolder
from tui_trainer.tui.app import TrainerApp

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Seen = Callable[..., Awaitable[None]]
Text = Callable[[TrainerApp], str]


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
        await seen(app, "as done recorded it", "GPU 93 %", "0 H200")
        await pilot.press("plus", "left")
        assert app.screen._zoom == 1
        assert len(text_of(app).split("\n")) == size[1]
        await pilot.press("escape")
        assert type(app.screen).__name__ == "Dashboard"
        await pilot.click("#machine")
        await seen(app, "as done recorded it", "esc closes")
