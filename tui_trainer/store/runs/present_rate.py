"""The current learning rate of a run, read from the end of its metrics."""

from __future__ import annotations

import contextlib

import msgspec

from tui_trainer.contracts.schedule import rise_text
from tui_trainer.store import jsonl
from tui_trainer.store.runs.run_folder import RunFolder


class _Row(msgspec.Struct):
    kind: str = "train"
    learning_rate: float | None = None


def newest_rate(folder: RunFolder) -> float | None:
    """The learning rate of the newest training row that has one, or None."""
    with contextlib.suppress(OSError):
        for row in jsonl.newest_records(folder.metrics_file, _Row):
            if row.kind == "train" and row.learning_rate is not None:
                return row.learning_rate
    return None


def rise(folder: RunFolder, rate: float) -> str | None:
    """A warning if `rate` is more than ten times the current one, else None.

    If the run has no step yet, or a rate of 0, its schedule's peak is used instead.
    """
    current = newest_rate(folder)
    if current is not None and current > 0:
        return rise_text(rate, current)
    return peak_rise(folder, rate)


def peak_rise(folder: RunFolder, rate: float) -> str | None:
    """A warning if `rate` is more than ten times the peak of the run's schedule, else None."""
    info = folder.info()
    peak = None if info is None else info.job.training.learning_rate
    return rise_text(rate, peak, "the run's peak rate")
