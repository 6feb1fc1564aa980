"""What judging costs: CPU microseconds an observed row, and bytes remembered, over long runs."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator

import msgspec

from tui_trainer.advisor.advisor import Advisor
from tui_trainer.contracts.advice import JobFacts
from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord

ROWS = 100_000
SLICE = 1_000
FACTS = JobFacts(learning_rate=2e-4, scheduler="constant", warmup_steps=0, adapter=True)


def print_cost(rows: int = ROWS) -> None:
    """Times a healthy run and one that diverges over and over, with an evaluation every 50 rows."""
    print("| run | rows | µs a row, median of slices | slowest slice | bytes remembered |")
    print("|---|---|---|---|---|")
    for name, troubled in (("healthy", False), ("in trouble every 500 rows", True)):
        advisor, spent, size = Advisor(facts=FACTS), list[float](), 0
        records = made(rows, troubled=troubled)
        for _ in range(rows // SLICE):
            part = [next(records) for _ in range(SLICE)]
            started_at = time.process_time()
            for record in part:
                advisor.observe(record)
            spent.append((time.process_time() - started_at) / SLICE * 1e6)
            size = max(size, len(msgspec.json.encode(advisor.state())))
        median, worst = sorted(spent)[len(spent) // 2], max(spent)
        print(f"| {name} | {rows:,} | {median:.1f} | {worst:.1f} | {size:,} |")


def made(rows: int, *, troubled: bool) -> Iterator[TrainRecord | EvalRecord]:
    """Rows of a made-up run without an end; every 51st is an evaluation."""
    draw = random.Random(5)
    step = 0
    while True:
        step += 1
        rise = 3.0 if troubled and step % 500 > 460 else 0.0
        level = 1 + 2 * math.exp(-step / (rows / 5)) + rise
        yield TrainRecord(
            step=step, epoch=step / rows, loss=level + draw.gauss(0, 0.1), learning_rate=2e-4,
            gradient_norm=math.exp(draw.gauss(rise, 0.2)), step_time_ms=40.0, tokens=800,
            examples=8, time=1.8e9 + step,
        )  # fmt: skip
        if step % 50 == 0:
            yield EvalRecord(step=step, epoch=step / rows, val_loss=level, time=1.8e9 + step)
