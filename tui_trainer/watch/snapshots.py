"""The snapshots that the watcher publishes: immutable, so safe to pass between threads."""

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
from tui_trainer.contracts.runs.run import Event, RunInfo, RunState

Column = NDArray[np.float64]
RunKind = Literal[
    "run", "jsonl", "trainer_state", "tensorboard", "wandb", "csv", "trackio", "mlflow"
]
_NO_COLUMNS: Mapping[str, Column] = MappingProxyType({})
_NO_CONFIG: Mapping[str, Any] = MappingProxyType({})
_NO_EXTREMES: Mapping[str, tuple[Column, Column]] = MappingProxyType({})
_INDEX_COLUMNS = ("step", "epoch", "time")
_EMPTY = np.empty(0, dtype=np.float64)
_EMPTY.flags.writeable = False

# The value of a field that a row lacks: a NaN whose sign bit distinguishes it from a measured one.
MISSING = math.copysign(math.nan, -1.0)


def is_missing(values: Column) -> NDArray[np.bool_]:
    """Where a row lacks the field."""
    return np.asarray(np.isnan(values) & np.signbit(values))


@dataclass(frozen=True)
class ColumnSummary:
    """Summary of the finite values in all rows of a column."""

    count: int = 0
    last: float = math.nan
    low: float = math.nan  # minimum
    low_step: float = math.nan  # the first step with it
    high: float = math.nan  # maximum
    high_step: float = math.nan  # the first step with it

    def followed_by(self, later: ColumnSummary) -> ColumnSummary:
        """The summary of these rows and later ones."""
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
    """Columns of one kind of record, all of one length, in the order of their steps.

    Names are the canonical ones of `metrics.jsonl` (`step`, `loss`, `learning_rate`, `time` ...),
    others as found. Missing and non-finite values are NaN; a field that a row lacks is a NaN with
    its sign bit set (`MISSING`), which `series` leaves out. Arrays are read-only. Tables are
    compared by identity: a watcher publishes the same object until it changes.

    Up to 131,072 rows every entry is one row. Tables of longer runs are thinned, so that memory is
    bounded: an entry is up to `thinning` consecutive rows (see `weights`), with the mean of their
    finite values, the step, time and epoch of the last row, and their extremes (see `envelope`).
    The newest rows of a live run are single entries. Where a run goes back into a thinned entry,
    the whole entry is dropped, at most `thinning - 1` valid rows among it. `last`, `best` and
    `count` are exact at any thinning, except after such a rewind: then the last value may be the
    mean of an entry, and the step of the best one the last of its entry.
    """

    columns: Mapping[str, Column] = field(default_factory=lambda: _NO_COLUMNS)
    thinning: int = 1
    extremes: Mapping[str, tuple[Column, Column]] = field(default_factory=lambda: _NO_EXTREMES)
    summaries: Mapping[str, ColumnSummary] | None = None
    weights: NDArray[np.int32] | None = None  # rows of each entry; None: one each
    recorded: int | None = None  # rows recorded, if not one per entry

    def __len__(self) -> int:
        return next((len(column) for column in self.columns.values()), 0)

    @property
    def rows(self) -> int:
        """The number of rows recorded."""
        return len(self) if self.recorded is None else self.recorded

    def names(self) -> tuple[str, ...]:
        """The metrics, without step, epoch and time, in order of first appearance."""
        return tuple(name for name in self.columns if name not in _INDEX_COLUMNS)

    def measured(self) -> tuple[str, ...]:
        """As `names`, without the metrics that have no finite value."""
        return tuple(name for name in self.names() if self.count(name))

    def column(self, name: str) -> Column:
        """The column, or an empty one where there is none of that name."""
        return self.columns.get(name, _EMPTY)

    def envelope(self, name: str, x: str = "step") -> tuple[Column, Column, Column] | None:
        """`x`, minimum and maximum of each entry that has the column (NaN where no value is
        finite). None where the table is not thinned."""
        if self.thinning == 1:
            return None
        positions = self.column(x)
        if name not in self.extremes or not len(positions):
            return _EMPTY, _EMPTY, _EMPTY
        low, high = self.extremes[name]
        present = _present(self.columns[name])
        return (
            (positions, low, high)
            if present is None
            else (positions[present], low[present], high[present])
        )

    def series(self, name: str, x: str = "step") -> tuple[Column, Column]:
        """`x` and values of a column for a chart: without the rows that lack it, and with NaN for
        values that were not finite, which show as gaps. Empty where there is no such column."""
        values, positions = self.column(name), self.column(x)
        if not len(values) or not len(positions):
            return _EMPTY, _EMPTY
        present = _present(values)
        return (positions, values) if present is None else (positions[present], values[present])

    def last(self, name: str) -> float | None:
        """The newest finite value of a column."""
        summary = self._summary(name)
        return summary.last if summary.count else None

    def best(self, name: str, highest: bool = False) -> tuple[float, float] | None:
        """The lowest (or highest) finite value and the first step with it."""
        summary = self._summary(name)
        if not summary.count:
            return None
        return (summary.high, summary.high_step) if highest else (summary.low, summary.low_step)

    def count(self, name: str) -> int:
        """The number of rows with a finite value."""
        return self._summary(name).count

    def _summary(self, name: str) -> ColumnSummary:
        if self.summaries is not None:
            return self.summaries.get(name, _UNKNOWN)
        return summarise(self.column(name), self.column("step"))


def summarise(values: Column, steps: Column) -> ColumnSummary:
    """The summary of consecutive rows; its steps are NaN where `steps` is empty."""
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


def _present(values: Column) -> NDArray[np.bool_] | None:
    """Mask of the rows that have the column; None where all do."""
    missing = is_missing(values)
    return ~missing if missing.any() else None


@dataclass(frozen=True)
class RunSummary:
    """One row of the run list."""

    path: Path
    id: str
    name: str
    kind: RunKind
    status: str  # "unreadable" where nothing is known about the run
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    best_val_loss: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    created_at: float | None = None  # seconds since the epoch
    updated_at: float | None = None  # seconds since the epoch
    message: str = ""
    learning_rate: float | None = None
    best_loss: float | None = None
    spark: tuple[float, ...] = ()  # at most 24 mean losses of equal parts of the run, oldest first
    trend: float | None = None  # change of the loss over the last quarter; -0.031: down by 3.1 %
    epoch: float | None = None
    tool: str = "tui-trainer"  # that wrote the run: "TensorBoard", "JSON lines" ...
    commandable: bool = False  # a live process on this host executes commands
    stalled: Advice | None = None  # while a step takes far too long
    critical: tuple[Advice, ...] = ()  # critical advice reported since the run was first read
    problem: str = ""  # why a file of the run cannot be read, one line

    @property
    def shown_status(self) -> str:
        """The status, but `hung` while a step takes far too long."""
        return self.status if self.stalled is None else "hung"

    @property
    def ours(self) -> bool:
        """Whether the run is one of this program's engine, so that it can be resumed and may have
        an adapter here."""
        return self.kind == "run" and self.tool == "tui-trainer"


@dataclass(frozen=True)
class RunView:
    """Everything that the dashboard shows of one run."""

    summary: RunSummary
    info: RunInfo | None = None
    state: RunState | None = None
    train: MetricTable = field(default_factory=MetricTable)
    evals: MetricTable = field(default_factory=MetricTable)
    events: tuple[Event, ...] = ()
    hardware: tuple[HardwareSample, ...] = ()
    commandable: bool = False  # a live process on this host executes `control.jsonl`
    warnings: tuple[str, ...] = ()  # on the run's files, one sentence each
    log_tail: tuple[str, ...] = ()  # of a run that failed or crashed
    # Steps to which the metrics went back, replacing older rows; the newest hundred.
    resumed_at: tuple[float, ...] = ()
    # `section.key` to value; of a run of another tool, what that tool recorded.
    config: Mapping[str, Any] = field(default_factory=lambda: _NO_CONFIG)
    # What the run does not record: "learning rate", "gradient norm", "state", "checkpoints" ...
    lacks: tuple[str, ...] = ()
    # Every advice as last reported, in order, by the run's own advisor or, if `advice_computed`,
    # by the watcher's. None where there is neither, or not yet.
    advice: tuple[Advice, ...] | None = None
    applied: frozenset[str] = frozenset()  # ids of the advice whose learning rate was applied
    advice_computed: bool = False
    advice_rows_per_mean: int = 1  # above 1, the advisor received means of so many rows

    @property
    def rows(self) -> int:
        """The number of rows recorded in both tables."""
        return self.train.rows + self.evals.rows


@dataclass(frozen=True)
class FolderView:
    """A whole folder at one time."""

    root: Path
    runs: tuple[RunSummary, ...] = ()
    focused: RunView | None = None
    problem: str | None = None  # why the folder cannot be watched, one sentence
    loading: bool = False  # until every run was read once and the focused one completely
    warnings: tuple[str, ...] = ()  # on watching the folder, one sentence each
    others: tuple[RunView, ...] = ()  # further runs, see `FolderWatcher.watch_others`
    read: int = 0  # how many of `runs` have been read
