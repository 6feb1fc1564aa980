"""`python -m tests.benchmarks.throughput.watching`: what reporting, control and checkpoints cost.

Trains the built-in base for some hundred small steps and adds up, around each step, the CPU time
of everything that is not the step itself: commands looked for, the metrics lines, the state file
(which is written once a second), and by itself the advisor. Checkpoints count by how long
training stood still. All of it comes after a step that has filled the processor's caches with
other things, and takes several times what it takes in a loop of its own.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.throughput.cases import write_rows

STEPS_PER_SECOND = 20
EVERY = 50  # steps from checkpoint to checkpoint, as in a job that says nothing of it


def main() -> None:
    """Prints the two figures of the built-in base."""
    from tui_trainer.engine import loop, setup
    from tui_trainer.engine.advice import observe
    from tui_trainer.engine.records.run_reporter import RunReporter
    from tui_trainer.engine.state.command_source import CommandSource
    from tui_trainer.store import jobs
    from tui_trainer.store.runs import run_folder

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        rows = write_rows("long", 60, work, None)
        job = jobs.check_job(
            {
                "data": {"train": str(rows), "max_length": 48},
                "training": {"max_steps": 300, "batch_size": 2, "checkpoint_every": EVERY},
            },
            work,
            "benchmark",
        )
        folder = run_folder.create_run(work / "runs", job)
        report, info = RunReporter(folder), folder.info()
        assert info is not None
        session = setup.prepare(folder, info, report, CommandSource(folder), None)
        inside, advised = _timed(loop, "step"), _timed(observe, "observe")
        started_at = time.thread_time()
        loop.train(session)
        took = time.thread_time() - started_at
        stalls = [e.detail["stalled"] for e in folder.events() if e.kind == "checkpoint"]
        report.close()
    steps = len(inside)
    around = (took - sum(inside) - sum(advised) - sum(stalls)) / steps
    parts = {
        "reporting and control": around,
        "advice": sum(advised) / steps,
        f"a checkpoint every {EVERY} steps": statistics.mean(stalls) / EVERY,
    }
    for name, seconds in {**parts, "together": sum(parts.values())}.items():
        share = seconds * STEPS_PER_SECOND
        print(f"{name}: {seconds * 1e6:.0f} us, {share:.2%} of a step at {STEPS_PER_SECOND}/s")
    print(f"steps of {statistics.mean(inside) * 1000:.0f} ms")
    middle, most = statistics.median(stalls) * 1000, max(stalls) * 1000
    print(f"a checkpoint stalls training for {middle:.1f} ms (most {most:.1f})")


def _timed(module: Any, name: str) -> list[float]:
    """From now on the CPU seconds of every call of a module's function are added to this."""
    original: Any = getattr(module, name)
    seconds: list[float] = []

    def timed(*given: Any) -> Any:
        started_at = time.thread_time()
        outcome = original(*given)
        seconds.append(time.thread_time() - started_at)
        return outcome

    setattr(module, name, timed)
    return seconds


if __name__ == "__main__":
    main()
