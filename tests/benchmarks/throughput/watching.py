"""`python -m tests.benchmarks.throughput.watching`: what reporting, control and checkpoints cost.

Trains the built-in base for some hundred small steps and adds up, around each step, the CPU time
of everything that is not the step itself: commands looked for, the metrics line, the state file
(which is written once a second). Checkpoints count by how long training stood still.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.throughput.cases import write_rows

STEPS_PER_SECOND = 20


def main() -> None:
    """Prints the two figures of the built-in base."""
    from tui_trainer.engine import loop, setup
    from tui_trainer.engine.control import Control
    from tui_trainer.engine.report import Report
    from tui_trainer.store import jobs, runs

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        rows = write_rows("long", 60, work, None)
        job = jobs.check_job(
            {
                "data": {"train": str(rows), "max_length": 48},
                "training": {"max_steps": 300, "batch_size": 1, "checkpoint_every": 60},
            },
            work,
            "benchmark",
        )
        folder = runs.create_run(work / "runs", job)
        report, info = Report(folder), folder.info()
        assert info is not None
        session = setup.prepare(folder, info, report, Control(folder), None)
        inside: list[float] = []
        original = loop.step

        def timed(session: Any) -> Any:
            began = time.thread_time()
            outcome = original(session)
            inside.append(time.thread_time() - began)
            return outcome

        loop.step = timed
        began = time.thread_time()
        loop.train(session)
        stalls = [e.detail["stalled"] for e in folder.events() if e.kind == "checkpoint"]
        around = (time.thread_time() - began - sum(inside) - sum(stalls)) / len(inside)
        report.close()
    share = around * STEPS_PER_SECOND
    print(f"around a step: {around * 1e6:.0f} us, {share:.2%} of a step at {STEPS_PER_SECOND}/s")
    middle, most = statistics.median(stalls) * 1000, max(stalls) * 1000
    print(f"a checkpoint stalls training for {middle:.1f} ms (most {most:.1f})")


if __name__ == "__main__":
    main()
