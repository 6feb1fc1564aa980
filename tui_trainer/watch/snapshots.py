"""What the watcher hands out: frozen snapshots, safe to pass between threads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.run import Event, RunInfo, RunState

Column = NDArray[np.float64]
RunKind = Literal[
    "run", "jsonl", "trainer_state", "tensorboard", "wandb", "csv", "trackio", "mlflow"
]
_NO_COLUMNS: Mapping[str, Column] = MappingProxyType({})
_NO_CONFIG: Mapping[str, Any] = MappingProxyType({})
_NO_EXTREMES: Mapping[str, tuple[Column, Column]] = MappingProxyType({})
_PLACES = ("step", "epoch", "time")
_EMPTY = np.empty(0, dtype=np.float64)
_EMPTY.flags.writeable = False

# What stands where a row lacks a field: a NaN that the sign bit tells from a measured one.
MISSING = math.copysign(math.nan, -1.0)


@dataclass(frozen=True)
class ColumnSummary:
    """What is known of all rows of a column: how many are finite, the newest, the least and the
    greatest of them with their steps (the earliest of equals)."""

    count: int = 0
    last: float = math.nan
    low: float = math.nan
    low_step: float = math.nan
    high: float = math.nan
    high_step: float = math.nan

    def joined(self, later: ColumnSummary) -> ColumnSummary:
        """With later rows."""
        if not self.count or not later.count:
            return later if not self.count else self
        low, high = later.low < self.low, later.high > self.high
        return ColumnSummary(
            self.count + later.count,
            later.last,
            later.low if low else self.low,
            later.low_step if low else self.low_step,
            later.high if high else self.high,
            later.high_step if high else self.high_step,
        )


_UNKNOWN = ColumnSummary()


@dataclass(frozen=True, eq=False)
class MetricTable:
    """Columns of one kind of record, all of one length, steps never falling.

    Names are the canonical ones of `metrics.jsonl` (`step`, `loss`, `learning_rate`, `time` ...),
    others as found. Missing and non-finite values are NaN. Arrays are read-only.
    A field that a row lacks is a NaN with its sign bit set (`MISSING`); `series` tells them apart.
    Tables are compared by identity: a watcher hands out the same one until it changes.

    A table is exact (an entry is a row) up to 131,072 rows. Of longer runs it is thinned, so that
    memory is bounded: an entry then stands for at most `thinning` consecutive rows (`weights` of
    them), and holds the mean of their finite values, the step, time and epoch of their last row,
    and (see `envelope`) their least and greatest. The newest rows of a live run stay single. A
    run that goes back into a thinned stretch loses the whole entry that is partly superseded:
    at most `thinning - 1` true rows are missing then, and no superseded value stays.
    `last`, `best` and `count` are exact at any thinning, but for a step gone back to so: then
    the last value may be an entry's mean, and the best one's step its entry's last.
    """

    columns: Mapping[str, Column] = field(default_factory=lambda: _NO_COLUMNS)
    thinning: int = 1
    extremes: Mapping[str, tuple[Column, Column]] = field(default_factory=lambda: _NO_EXTREMES)
    known: Mapping[str, ColumnSummary] | None = None
    weights: NDArray[np.int32] | None = None  # rows of each entry; None: one each
    recorded: int | None = None

    def __len__(self) -> int:
        return next((len(column) for column in self.columns.values()), 0)

    @property
    def rows(self) -> int:
        """Rows recorded in all."""
        return len(self) if self.recorded is None else self.recorded

    def names(self) -> tuple[str, ...]:
        """The metrics (not the places), in order of first appearance."""
        return tuple(name for name in self.columns if name not in _PLACES)

    def column(self, name: str) -> Column:
        """The column, or an empty one where the run has none of that name."""
        return self.columns.get(name, _EMPTY)

    def envelope(self, name: str, x: str = "step") -> tuple[Column, Column, Column] | None:
        """`x` and the least and greatest finite value of each entry that has the column (NaN
        where none is finite); None at thinning 1, where `series` says it all."""
        if self.thinning == 1:
            return None
        places = self.column(x)
        if name not in self.extremes or not len(places):
            return _EMPTY, _EMPTY, _EMPTY
        low, high = self.extremes[name]
        here = _has(self.columns[name])
        return (places, low, high) if here is None else (places[here], low[here], high[here])

    def series(self, name: str, x: str = "step") -> tuple[Column, Column]:
        """A column to draw, with its `x`: rows that lack it are left out, rows in which it was
        not finite stay as NaN, so that they show as gaps. Empty where the run has none."""
        values, places = self.column(name), self.column(x)
        if not len(values) or not len(places):
            return _EMPTY, _EMPTY
        here = _has(values)
        return (places, values) if here is None else (places[here], values[here])

    def last(self, name: str) -> float | None:
        """The newest finite value of a column."""
        known = self._known(name)
        return known.last if known.count else None

    def best(self, name: str, highest: bool = False) -> tuple[float, float] | None:
        """The least (or greatest) finite value and its step, the earliest of equals."""
        known = self._known(name)
        if not known.count:
            return None
        return (known.high, known.high_step) if highest else (known.low, known.low_step)

    def count(self, name: str) -> int:
        """How many rows hold a finite value of it."""
        return self._known(name).count

    def _known(self, name: str) -> ColumnSummary:
        if self.known is not None:
            return self.known.get(name, _UNKNOWN)
        return known_of(self.column(name), self.column("step"))


def known_of(values: Column, steps: Column) -> ColumnSummary:
    """What is known of a stretch of rows; NaN steps where there are none."""
    finite = np.isfinite(values)
    if not finite.all():
        values, steps = values[finite], steps[finite] if len(steps) else steps
    if not len(values):
        return _UNKNOWN
    low, high = int(values.argmin()), int(values.argmax())
    at_low, at_high = (float(steps[low]), float(steps[high])) if len(steps) else (math.nan,) * 2
    return ColumnSummary(
        len(values), float(values[-1]), float(values[low]), at_low, float(values[high]), at_high
    )


def _has(values: Column) -> NDArray[np.bool_] | None:
    """Where rows have the column at all; None where all do."""
    lacking = np.isnan(values)
    if not lacking.any():
        return None
    lacking &= np.signbit(values)
    return ~lacking if lacking.any() else None


@dataclass(frozen=True)
class RunSummary:
    """One row of the list of runs.

    `spark` are at most 24 losses evenly over the run, oldest first; `trend` is the relative
    change of the smoothed loss over the last quarter of the run (-0.031: 3.1 % less); `tool` is
    what wrote the run, as its users call it ("tui-trainer", "TensorBoard", "JSON lines" ...);
    `commandable` says that a live process on this host obeys commands; `stalled` is said while a
    step takes far too long; `critical` is critical advice said since the run was first looked
    at; `problem` says why a file of the run cannot be read, in one line ("" where all can); the
    `status` is "unreadable" where nothing is known of the run.
    """

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
    learning_rate: float | None = None
    best_loss: float | None = None
    spark: tuple[float, ...] = ()
    trend: float | None = None
    epoch: float | None = None
    tool: str = "tui-trainer"
    commandable: bool = False
    stalled: Advice | None = None
    critical: tuple[Advice, ...] = ()
    problem: str = ""

    @property
    def shown_status(self) -> str:
        """The status, but `hung` where a step takes too long to be believed to train."""
        return self.status if self.stalled is None else "hung"

    @property
    def ours(self) -> bool:
        """Whether our engine trains it, so that it can be resumed and may leave an adapter here."""
        return self.kind == "run" and self.tool == "tui-trainer"


@dataclass(frozen=True)
class RunView:
    """Everything a dashboard shows of one run.

    `commandable` says that a live process of ours on this host obeys `control.jsonl`;
    `oddities` are one sentence each about what was strange in the files;
    `log_tail` is filled where the run failed or crashed; `resumed_at` are the steps to which
    the metrics went back, replacing older rows (the newest hundred); `config` is flat
    (`section.key` to value), for a foreign run what its tool recorded; `lacks` names what the
    run does not record ("learning rate", "gradient norm", "state", "checkpoints"); `advice` is
    every advice as last reported, in order, by the advisor that ran with the run, or by the
    watcher's own (`advice_computed`); None where there is neither, or not yet; `applied` are the
    ids of those whose learning rate was taken.
    """

    summary: RunSummary
    info: RunInfo | None = None
    state: RunState | None = None
    train: MetricTable = field(default_factory=MetricTable)
    evals: MetricTable = field(default_factory=MetricTable)
    events: tuple[Event, ...] = ()
    hardware: tuple[HardwareSample, ...] = ()
    commandable: bool = False
    oddities: tuple[str, ...] = ()
    log_tail: tuple[str, ...] = ()
    resumed_at: tuple[float, ...] = ()
    config: Mapping[str, Any] = field(default_factory=lambda: _NO_CONFIG)
    lacks: tuple[str, ...] = ()
    advice: tuple[Advice, ...] | None = None
    applied: frozenset[str] = frozenset()
    advice_computed: bool = False
    advice_rows: int = 0
    advice_rows_per_mean: int = 1

    @property
    def rows(self) -> int:
        """Rows of both tables as recorded."""
        return self.train.rows + self.evals.rows


@dataclass(frozen=True)
class FolderView:
    """A whole folder at one moment.

    `problem` is a sentence where the folder cannot be watched (absent, not a folder, not
    readable); `loading` is true until every run was read once and the focused one wholly;
    `oddities` are sentences about the watching itself; `others` are further runs read whole,
    as asked for by `FolderWatcher.also`; `read` of `runs` have their row filled in.
    """

    root: Path
    runs: tuple[RunSummary, ...] = ()
    focused: RunView | None = None
    problem: str | None = None
    loading: bool = False
    oddities: tuple[str, ...] = ()
    others: tuple[RunView, ...] = ()
    read: int = 0
