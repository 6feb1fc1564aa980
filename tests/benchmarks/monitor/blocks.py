"""`python -m tests.benchmarks.monitor.blocks DIR`: how long loading holds up the event loop.

Runs the app without a terminal at 160×45. A task of its loop wakes every millisecond until
everything is read. Printed as JSON, in milliseconds: the longest and the 99th percentile of the
pauses between two wakings from the first chart on (`wall`, which other processes on the machine
and the reading thread lengthen), the most processor time the loop's own thread spent in one of
these pauses (`own`), and in one before them, while the dashboard is laid out (`layout`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tui_trainer.contracts.settings import Settings
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.dashboard.screen import DashboardScreen
from tui_trainer.tui.run_charts.chart_pane import ChartPane
from tui_trainer.tui.startup import gc_pause
from tui_trainer.tui.startup.services import real_services

_TICK = 0.001
_SIZE = (160, 45)


async def probe(folder: Path) -> dict[str, float]:
    """The figures for one folder of runs."""
    gc_pause.pause()  # as the command does
    settings = Settings()
    services = real_services(folder, settings.refresh_seconds)
    app = TrainerApp(folder, settings=settings, services=services, monitor_only=True)
    running = asyncio.create_task(app.run_async(headless=True, size=_SIZE))
    while not app.view.runs:
        await asyncio.sleep(_TICK)
    laying = await pauses_while(lambda: not running.done() and not is_drawn(app))
    begun = time.monotonic()
    pauses = await pauses_while(lambda: not running.done() and app.view.loading)
    seconds = time.monotonic() - begun
    app.exit(0)
    await running
    return {**summary(pauses, seconds), "layout": summary(laying, 0.0)["own"]}


def is_drawn(app: TrainerApp) -> bool:
    """Whether the leading chart stands, with its lines."""
    screen = app.screen
    if not isinstance(screen, DashboardScreen) or not screen.is_mounted:
        return False
    leading = screen.query("#loss").first(ChartPane) if screen.query("#loss") else None
    return leading is not None and leading.plot is not None and leading.size.width > 0


async def pauses_while(going: Callable[[], bool]) -> list[tuple[float, float]]:
    """The pauses between two wakings, as (wall, own) in seconds."""
    pauses: list[tuple[float, float]] = []
    wall, own = time.monotonic(), time.thread_time()
    while going():
        await asyncio.sleep(_TICK)
        now, spent = time.monotonic(), time.thread_time()
        pauses.append((now - wall - _TICK, spent - own))
        wall, own = now, spent
    return pauses


def summary(pauses: list[tuple[float, float]], seconds: float) -> dict[str, float]:
    """Of pauses (wall, own) in seconds: the figures in milliseconds."""
    walls = sorted(pause[0] for pause in pauses) or [0.0]
    owns = [pause[1] for pause in pauses] or [0.0]
    return {
        "wall": round(1000 * walls[-1], 2),
        "wall_p99": round(1000 * walls[int(0.99 * (len(walls) - 1))], 2),
        "own": round(1000 * max(owns), 2),
        "ticks": len(pauses),
        "seconds": round(seconds, 3),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(probe(Path(sys.argv[1])))))
