"""Conversion of other tools' records into columns."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tui_trainer.watch.snapshots import MISSING, Column
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.metric_decoder import MOST_COLUMNS, DecodedRows, is_non_finite

TRAIN, EVAL = 1, 2
FURTHEST_STEP = 2.0**62
LATEST = 253_402_300_799.0  # the end of the year 9999
Position = tuple[float | None, float | None, float | None]


class RowBuilder:
    """Collects values into rows, training and evaluation separately.

    Consecutive values of one kind at one step become one row. A value that is not finite is NaN,
    one that is absent is `MISSING`.
    """

    def __init__(self) -> None:
        self.left_out = False  # more metrics than are kept
        self.seen: set[str] = set()  # every name so far, including step, epoch and time
        self._evals: dict[str, bool] = {}
        self._clear()

    def __len__(self) -> int:
        return len(self._kinds)

    def add(
        self,
        step: float | None,
        values: Iterable[tuple[str, float]],
        *,
        time: float | None = None,
        epoch: float | None = None,
        kind: int = 0,
    ) -> None:
        """Adds values.

        Args:
            step: the step; None: numbered as in `History`.
            values: pairs of canonical name and value.
            time: seconds since the epoch.
            epoch: the epoch.
            kind: `TRAIN` or `EVAL`; 0: by the names.
        """
        position = (step, epoch, time)
        for name, value in values:
            if name not in self.seen and len(self.seen) >= MOST_COLUMNS:
                self.left_out = True
                continue
            evaluated = self._evals.get(name)
            if evaluated is None:
                evaluated = self._evals[name] = metric_names.is_eval(name)
            self._put(kind or (EVAL if evaluated else TRAIN), position, name, value)
        if step is None:
            self._open_rows.clear()

    def _put(self, kind: int, position: Position, name: str, value: float) -> None:
        self.seen.add(name)
        open_row = self._open_rows.get(kind)
        if open_row is None or self._positions[open_row][0] != position[0]:
            open_row = self._open_rows[kind] = len(self._kinds)
            self._kinds.append(kind)
            self._positions.append(position)
        elif position != self._positions[open_row]:
            new = [
                b if b is not None else a
                for a, b in zip(self._positions[open_row], position, strict=True)
            ]
            self._positions[open_row] = (new[0], new[1], new[2])
        at, found = self._cells.setdefault(name, ([], []))
        at.append(open_row)
        found.append(value)

    def take_rows(self) -> DecodedRows | None:
        """The rows added since the last call, or None."""
        count = len(self._kinds)
        if not count:
            return None
        columns: dict[str, Column] = {}
        for index, name in enumerate(("step", "epoch", "time")):
            values = [position[index] for position in self._positions]
            if any(value is not None for value in values):
                positions = [MISSING if value is None else value for value in values]
                columns[name] = np.array(positions, dtype=np.float64)
                columns[name][np.isinf(columns[name])] = math.nan
                self.seen.add(name)
        for name, (at, found) in self._cells.items():
            column = np.full(count, MISSING)
            column[at] = measured(np.array(found, dtype=np.float64))
            columns[name] = column
        kinds = np.array(self._kinds, dtype=np.int8)
        self._clear()
        return DecodedRows(columns, kinds)

    def _clear(self) -> None:
        self._kinds: list[int] = []
        self._positions: list[Position] = []
        self._open_rows: dict[int, int] = {}
        self._cells: dict[str, tuple[list[int], list[float]]] = {}


def measured(values: Column) -> Column:
    """The values, with NaN for those that are not finite."""
    return np.where(np.isfinite(values), values, math.nan)


def measure(value: object) -> float | None:
    """As `number`, but NaN for None: JSON writers put null for a value that is not finite."""
    return math.nan if value is None else number(value)


def number(value: object) -> float | None:
    """A number, also from a text such as "NaN"; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.nan
    if isinstance(value, str) and is_non_finite(value):
        return math.nan
    return None


def epoch_seconds(value: object, factor: float = 1.0) -> float | None:
    """A time in seconds since the epoch, from a number in units of `1 / factor` seconds; None for
    one after the year 9999."""
    plain = number(value)
    if plain is None or not abs(plain / factor) <= LATEST:
        return None
    return plain / factor


def step_number(value: object) -> float | None:
    """A step; None for a value that is not a number, not finite or too large."""
    plain = number(value)
    return plain if plain is not None and abs(plain) <= FURTHEST_STEP else None
