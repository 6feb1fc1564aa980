"""The learning rate that a run has now, read from the end of its metrics."""

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
    """The rate of the newest training row that has one, or None."""
    with contextlib.suppress(OSError):
        for row in jsonl.newest_records(folder.metrics_file, _Row):
            if row.kind == "train" and row.learning_rate is not None:
                return row.learning_rate
    return None


def rise(folder: RunFolder, rate: float) -> str | None:
    """A sentence where `rate` is more than ten times the present one; None where it is not.

    A run without a step yet, or with a rate of 0, is measured by its schedule's peak.
    """
    present = newest_rate(folder)
    if present is not None and present > 0:
        return rise_text(rate, present)
    return peak_rise(folder, rate)


def peak_rise(folder: RunFolder, rate: float) -> str | None:
    """A sentence where `rate` is more than ten times the peak that the run was started with."""
    info = folder.info()
    peak = None if info is None else info.job.training.learning_rate
    return rise_text(rate, peak, "the run's peak rate")
