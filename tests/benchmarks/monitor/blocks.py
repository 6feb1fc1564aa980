"""`python -m tests.benchmarks.monitor.blocks DIR`: how long loading holds up the event loop.

Runs the app without a terminal at 160×45. A task of its loop wakes every millisecond from the
dashboard's first paint until everything is read. Printed as JSON, in milliseconds: the longest
and the 99th percentile of the pauses between two wakings (`wall`, which other processes on the
machine and the reading thread lengthen), and the most processor time the loop's own thread spent
in one pause (`own`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from tui_trainer.contracts.settings import Settings
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.bridge import real_services

_TICK = 0.001
_LAID_OUT = 0.1  # the dashboard's first layout is a paint, not loading
_SIZE = (160, 45)


async def probe(folder: Path) -> dict[str, float]:
    """The figures for one folder of runs."""
    settings = Settings()
    services = real_services(folder, settings.refresh_seconds)
    app = TrainerApp(folder, settings=settings, services=services, monitor_only=True)
    running = asyncio.create_task(app.run_async(headless=True, size=_SIZE))
    while not (app.view.runs and app.current_mode == "dashboard" and app.screen.is_mounted):
        await asyncio.sleep(_TICK)
    await asyncio.sleep(_LAID_OUT)
    pauses: list[tuple[float, float]] = []
    wall, own = time.monotonic(), time.thread_time()
    begun = wall
    while app.view.loading and not running.done():
        await asyncio.sleep(_TICK)
        now, spent = time.monotonic(), time.thread_time()
        pauses.append((now - wall - _TICK, spent - own))
        wall, own = now, spent
    app.exit(0)
    await running
    return summary(pauses, wall - begun)


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
