"""Made-up runs whose cause of trouble is known, and healthy ones."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from typing import Any

from tui_trainer.advisor.advisor import Advisor
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts

Row = dict[str, Any]
Curve = Callable[[int], float]


def run(
    steps: int,
    *,
    seed: int = 1,
    loss: Curve | None = None,
    noise: float = 0.05,
    norm: Curve | None = None,
    rate: Curve | None = None,
    **more: Any,
) -> list[Row]:
    """Rows of a run whose loss decays from 4 to 1, with noise; curves are functions of the
    step (1-based). `more` are further fields."""
    draw = random.Random(seed)
    rows = []
    for step in range(1, steps + 1):
        level = descent(step) if loss is None else loss(step)
        row: Row = {"kind": "train", "step": step, "loss": level + draw.gauss(0, noise)}
        row["gradient_norm"] = (norm(step) if norm else 1.0) * math.exp(draw.gauss(0, 0.15))
        row["learning_rate"] = rate(step) if rate else min(step / 20, 1.0) * 1e-3
        row["step_time_ms"] = 100.0 + draw.gauss(0, 2)
        row["time"] = 1_000.0 + step * 0.1
        rows.append({**row, **more})
    return rows


def descent(step: int) -> float:
    """From 4 to 1 with a time constant of 150 steps."""
    return 1.0 + 3.0 * math.exp(-step / 150)


def cosine(step: int, total: int, peak: float = 1e-3, warmup: int = 20) -> float:
    """Warmup, then a cosine to 0."""
    if step <= warmup:
        return peak * step / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def advise(
    rows: Iterable[Row], facts: JobFacts | None = None, settings: AdvisorSettings | None = None
) -> list[Advice]:
    """All reports over the rows."""
    advisor = Advisor(settings, facts)
    return [advice for row in rows for advice in advisor.observe(row)]


def urgent(reports: list[Advice]) -> list[Advice]:
    """The reports above low urgency."""
    return [advice for advice in reports if advice.urgency != "low"]


def first(reports: list[Advice], kind: str) -> Advice:
    """The first advice of a kind; fails where there is none."""
    found = [advice for advice in reports if advice.kind == kind]
    assert found, f"no {kind} among {[(a.kind, a.step) for a in reports]}"
    return found[0]
