"""The learning-rate schedule of a job before its start, as a chart."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from tui_trainer.contracts.job import Job, TrainingSettings
from tui_trainer.contracts.schedule import learning_rate_at
from tui_trainer.store import job_checks
from tui_trainer.store.data_sources import file_list, source_weights
from tui_trainer.text import formats
from tui_trainer.tui.charts.blocks import sparkline
from tui_trainer.tui.charts.model import ChartLine, ChartSpec, Marks

_POINTS = 400
_COUNTED_BYTES = 4 << 20  # rows of larger files are not counted while the form is edited


def schedule_line(job: Job, width: int, marks: Marks) -> str:
    """The schedule as one line of `width` characters, for terminals too short for its chart."""
    total = steps_of(job)
    if total is None:
        return ""
    steps = np.linspace(0, total - 1, width).astype(np.int64)
    rates = [learning_rate_at(int(step), job.training, total) for step in steps]
    drawn = sparkline(np.array(rates), width, marks, (0.0, job.training.learning_rate))
    return f"{drawn} {formats.rate(job.training.learning_rate)}"


def schedule_chart(job: Job | None) -> ChartSpec:
    """The rate over the steps; without `max_steps` their number is estimated from the rows."""
    if job is None:
        return ChartSpec(title="learning rate", empty="shown when every field is valid")
    settings = job.training
    total = steps_of(job)
    if total is None:
        return ChartSpec(
            title=f"learning rate up to {formats.rate(settings.learning_rate)}",
            empty="the data files are too large to count their rows: set max steps to see it",
        )
    about = "" if settings.max_steps is not None else "about "
    steps = np.unique(np.linspace(0, total - 1, min(_POINTS, total)).astype(np.int64))
    rates = np.array(
        [learning_rate_at(int(step), settings, total) for step in steps], dtype=np.float64
    )
    return ChartSpec(
        title=f"learning rate {formats.rate(settings.learning_rate)}",
        detail=(
            f"{_scheduler_text(settings)}, "
            f"warmup {formats.count(settings.warmup_steps)} of {about}"
            f"{formats.plural(total, 'step')}"
        ),
        lines=(ChartLine((steps + 1).astype(np.float64), rates, "smooth"),),
        robust=False,
        legend=False,
        y_range=(0.0, settings.learning_rate * 1.04),
    )


def _scheduler_text(settings: TrainingSettings) -> str:
    """The scheduler with its own settings."""
    own = {
        "cosine-restarts": f", {formats.plural(settings.scheduler_cycles, 'cycle')}",
        "polynomial": f", power {formats.short_number(settings.scheduler_power)}",
        "wsd": f", decay over {formats.set_share(settings.decay_share)} of the steps",
    }
    return f"{settings.scheduler}{own.get(settings.scheduler, '')}"


def steps_of(job: Job) -> int | None:
    """The run's optimizer steps: as set, or estimated from the rows; None for large files."""
    if job.training.max_steps is not None:
        return job.training.max_steps
    try:
        facts = [(file, file.stat()) for file in file_list(job.data.train)]
        weights = tuple(source_weights(job.data.train))
    except OSError:
        return None
    files = tuple((str(file), found.st_size, found.st_mtime_ns) for file, found in facts)
    if sum(size for _, size, _ in files) > _COUNTED_BYTES:
        return None
    return job_checks.planned_steps(job, _rows(files, weights))


@functools.lru_cache(maxsize=32)
def _rows(files: tuple[tuple[str, int, int], ...], weights: tuple[float, ...]) -> int | None:
    """Number of rows, counted once for files of this size and modification time."""
    return job_checks.count_rows([Path(name) for name, _, _ in files], weights)
