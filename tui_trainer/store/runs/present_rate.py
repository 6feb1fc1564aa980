"""The learning rate that a run has now, read from the end of its metrics."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from tui_trainer.contracts.schedule import rise_text
from tui_trainer.store.runs.run_folder import RunFolder

_TAIL = 65_536  # bytes: some 250 steps


class _Line(msgspec.Struct):
    kind: str = "train"
    learning_rate: float | None = None


def newest_rate(folder: RunFolder) -> float | None:
    """The rate of the newest training row that has one, or None."""
    decoder = msgspec.json.Decoder(_Line)
    for data in reversed(_tail(folder.metrics_file).split(b"\n")):
        with contextlib.suppress(msgspec.MsgspecError):
            line = decoder.decode(data)
            if line.kind == "train" and line.learning_rate is not None:
                return line.learning_rate
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


def _tail(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _TAIL))
            return stream.read()
    except OSError:
        return b""
