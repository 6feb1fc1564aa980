"""What the watcher hands out: frozen snapshots, safe to pass between threads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.run import Event, RunInfo, RunState

Column = NDArray[np.float64]
RunKind = Literal["run", "jsonl"]
_NO_COLUMNS: Mapping[str, Column] = MappingProxyType({})
_EMPTY = np.empty(0, dtype=np.float64)
_EMPTY.flags.writeable = False

# What stands where a row lacks a field: a NaN that the sign bit tells from a measured one.
MISSING = math.copysign(math.nan, -1.0)


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one kind of record, all of one length, steps never falling.

    Names are the canonical ones of `metrics.jsonl` (`step`, `loss`, `learning_rate`, `time` ...),
    others as found. Missing and non-finite values are NaN. Arrays are read-only.
    A field that a row lacks is a NaN with its sign bit set (`MISSING`); `series` tells them apart.
    Tables are compared by identity: a watcher hands out the same one until it changes.
    """

    columns: Mapping[str, Column] = field(default_factory=lambda: _NO_COLUMNS)

    def __len__(self) -> int:
        return next((len(column) for column in self.columns.values()), 0)

    def column(self, name: str) -> Column:
        """The column, or an empty one where the run has none of that name."""
        return self.columns.get(name, _EMPTY)

    def series(self, name: str, x: str = "step") -> tuple[Column, Column]:
        """A column to draw, with its `x`: rows that lack it are left out, rows in which it was
        not finite stay as NaN, so that they show as gaps. Empty where the run has none."""
        values, places = self.column(name), self.column(x)
        if not len(values) or not len(places):
            return _EMPTY, _EMPTY
        lacking = np.isnan(values)
        if lacking.any():
            lacking &= np.signbit(values)
            if lacking.any():
                return places[~lacking], values[~lacking]
        return places, values

    def last(self, name: str) -> float | None:
        """The newest finite value of a column."""
        column = self.column(name)
        finite = np.flatnonzero(np.isfinite(column[-1000:]))
        return float(column[-1000:][finite[-1]]) if len(finite) else None


@dataclass(frozen=True)
class RunSummary:
    """One row of the list of runs."""

    path: Path
    id: str
    name: str
    kind: RunKind
    status: str
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    best_val_loss: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    created_at: float | None = None
    updated_at: float | None = None
    message: str = ""


@dataclass(frozen=True)
class RunView:
    """Everything a dashboard shows of one run.

    `commandable` says that a live process of ours on this host obeys `control.jsonl`;
    `oddities` are one sentence each about what was strange in the files;
    `log_tail` is filled where the run failed or crashed; `resumed_at` are the steps to which
    the metrics went back, replacing older rows (the newest hundred).
    """

    summary: RunSummary
    info: RunInfo | None = None
    state: RunState | None = None
    train: Table = field(default_factory=Table)
    evals: Table = field(default_factory=Table)
    events: tuple[Event, ...] = ()
    hardware: tuple[HardwareSample, ...] = ()
    commandable: bool = False
    oddities: tuple[str, ...] = ()
    log_tail: tuple[str, ...] = ()
    resumed_at: tuple[float, ...] = ()


@dataclass(frozen=True)
class FolderView:
    """A whole folder at one moment.

    `problem` is a sentence where the folder cannot be watched (absent, not a folder, not
    readable); `loading` is true until every run was read once and the focused one wholly;
    `oddities` are sentences about the watching itself.
    """

    root: Path
    runs: tuple[RunSummary, ...] = ()
    focused: RunView | None = None
    problem: str | None = None
    loading: bool = False
    oddities: tuple[str, ...] = ()
