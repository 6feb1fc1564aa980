"""The learning-rate schedule of a job that has not begun, as a chart."""

from __future__ import annotations

import numpy as np

from tui_trainer.contracts.job import Job
from tui_trainer.contracts.schedule import learning_rate_at
from tui_trainer.tui.charts.blocks import sparkline
from tui_trainer.tui.charts.model import ChartSpec, Line, Marks
from tui_trainer.tui.text import rate_text

_POINTS = 400


def schedule_line(job: Job, width: int, marks: Marks) -> str:
    """The schedule as one line of `width` characters, where there is no room for its chart."""
    total = job.training.max_steps
    if total is None:
        return ""
    steps = np.linspace(0, total - 1, width).astype(np.int64)
    rates = [learning_rate_at(int(step), job.training, total) for step in steps]
    drawn = sparkline(np.array(rates), width, marks, (0.0, job.training.learning_rate))
    return f"{drawn} {rate_text(job.training.learning_rate)}"


def schedule_chart(job: Job | None) -> ChartSpec:
    """The rate over the steps; where these follow from the data, a sentence says so."""
    if job is None:
        return ChartSpec(title="learning rate", empty="appears when every field is right")
    settings = job.training
    if settings.max_steps is None:
        return ChartSpec(
            title=f"learning rate up to {rate_text(settings.learning_rate)}",
            empty="set max steps to see the schedule",
        )
    total = settings.max_steps
    steps = np.unique(np.linspace(0, total - 1, min(_POINTS, total)).astype(np.int64))
    rates = np.array(
        [learning_rate_at(int(step), settings, total) for step in steps], dtype=np.float64
    )
    return ChartSpec(
        title=f"learning rate {rate_text(settings.learning_rate)}",
        detail=f"{settings.scheduler}, warmup {settings.warmup_steps:,} of {total:,} steps",
        lines=(Line((steps + 1).astype(np.float64), rates, "smooth"),),
        robust=False,
        legend=False,
        y_range=(0.0, settings.learning_rate * 1.04),
    )
