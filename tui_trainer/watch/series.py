"""Growing tables of a run: training rows and evaluations, steps never falling."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tui_trainer.watch import names
from tui_trainer.watch.parse import Rows, is_missing
from tui_trainer.watch.view import MISSING, Column, Table

Mask = NDArray[np.bool_]

_FIRST_CAPACITY = 1024
_TRAIN, _EVAL = 1, 2


class Series:
    """Columns that grow at the end at amortised cost.

    Tables handed out stay as they were: rows are only ever written behind them, and taking rows
    back copies the rest into new arrays.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Column] = {"step": np.empty(_FIRST_CAPACITY)}
        self._count = 0
        self._table: Table | None = Table()

    def __len__(self) -> int:
        return self._count

    @property
    def last_step(self) -> float:
        """The newest row's step, below every other where there is no row."""
        return float(self._arrays["step"][self._count - 1]) if self._count else -np.inf

    def table(self) -> Table:
        """The rows so far, read-only."""
        if self._table is None:
            views = {}
            for name, array in self._arrays.items():
                view = array[: self._count]  # a view of its own; the array stays writable
                view.flags.writeable = False
                views[name] = view
            self._table = Table(MappingProxyType(views))
        return self._table

    def drop_from(self, step: float) -> int:
        """Takes back the rows from `step` on; gives how many."""
        keep = int(np.searchsorted(self._arrays["step"][: self._count], step, side="left"))
        dropped = self._count - keep
        if dropped:
            for name, array in self._arrays.items():
                fresh = np.empty(len(array))
                fresh[:keep] = array[:keep]
                self._arrays[name] = fresh
            self._count = keep
            self._table = None
        return dropped

    def extend(self, columns: dict[str, Column]) -> None:
        """Appends rows; `columns` holds `step` (finite), all of one length.

        Rows of one step in a row become one, a later value winning over an earlier. A step that
        goes back replaces the rows from it on, those among `columns` too.
        """
        steps = columns["step"]
        if not len(steps):
            return
        if self._count and steps[0] == self.last_step:
            # The newest row goes on: it is taken back and merged with the new ones.
            columns = self._with_last_row(columns)
            steps = columns["step"]
        columns = _one_row_a_step(columns)
        columns = _last_word(columns)
        self.drop_from(float(columns["step"][0]))
        self._append(columns)

    def _with_last_row(self, columns: dict[str, Column]) -> dict[str, Column]:
        last = self._count - 1
        joined = {}
        for name in self._arrays.keys() | columns.keys():
            before = self._arrays[name][last] if name in self._arrays else MISSING
            after = columns.get(name)
            if after is None:
                after = np.full(len(columns["step"]), MISSING)
            joined[name] = np.concatenate(([before], after))
        return joined

    def _append(self, columns: dict[str, Column]) -> None:
        added = len(columns["step"])
        total = self._count + added
        capacity = len(self._arrays["step"])
        if total > capacity:
            capacity = max(total, capacity * 2)
            for name, array in self._arrays.items():
                self._arrays[name] = np.empty(capacity)
                self._arrays[name][: self._count] = array[: self._count]
        for name, values in columns.items():
            if name not in self._arrays:
                if bool(is_missing(values).all()):
                    continue
                self._arrays[name] = np.empty(capacity)
                self._arrays[name][: self._count] = MISSING
        for name, array in self._arrays.items():
            array[self._count : total] = columns.get(name, MISSING)
        self._count = total
        self._table = None


class History:
    """The two tables of a metrics file, fed with its rows in order."""

    def __init__(self) -> None:
        self.train = Series()
        self.evals = Series()
        self.rewinds: list[tuple[float, float]] = []
        self.rewind_count = 0
        self.stepless = 0
        self._rows = 0
        self._has_steps = False
        self._step = 0.0

    def append(self, rows: Rows) -> None:
        """Adds rows: to the evaluations what is one's, to the training rows what is not.

        A row without a step counts as the next one in a file that has none, and belongs to the
        newest step in a file that has them.
        """
        rows = self._with_steps(rows)
        if not len(rows):
            return
        evaluated, trained = _classes(rows)
        steps = rows.columns["step"]
        cut = self._note_rewinds(steps, trained)
        after = np.minimum.accumulate(np.append(cut, np.inf)[::-1])[::-1]
        if np.isfinite(after[0]):
            self.evals.drop_from(float(after[0]))
        # An evaluation stands unless a later training row went back to its step or before it.
        evaluated &= steps < after[1:]
        both = evaluated & trained
        self.train.extend(_select(rows, trained, both, names.is_eval))
        self.evals.extend(_select(rows, evaluated, both, _is_training))

    def _with_steps(self, rows: Rows) -> Rows:
        count = len(rows)
        steps = rows.columns.get("step", np.full(count, MISSING))
        given: Mask = np.isfinite(steps)
        self._rows += count
        if not self._has_steps and not given.any():
            self.stepless += count
            counted = np.arange(self._rows - count + 1, self._rows + 1, dtype=np.float64)
            return Rows({**rows.columns, "step": counted}, rows.kinds)
        if not given.all() or not self._has_steps:
            rows, steps = self._fill_steps(rows, steps, given)
        if len(steps):
            self._step = float(steps[-1])
        return rows

    def _fill_steps(self, rows: Rows, steps: Column, given: Mask) -> tuple[Rows, Column]:
        first = 0
        if not self._has_steps:
            # What came before the first step (a header, say) has no place among the steps.
            first = int(np.argmax(given))
            self.stepless += first
            self.train, self.evals = Series(), Series()
            self._has_steps = True
        self.stepless += int((~given[first:]).sum())
        known = np.maximum.accumulate(np.where(given, np.arange(len(steps)), -1))
        filled = np.where(known >= 0, steps[np.maximum(known, 0)], self._step)[first:]
        columns = {name: values[first:] for name, values in rows.columns.items()}
        return Rows({**columns, "step": filled}, rows.kinds[first:]), filled

    def _note_rewinds(self, steps: Column, trained: Mask) -> Column:
        """The step gone back to, at each row that goes back, infinity elsewhere."""
        cut = np.full(len(steps), np.inf)
        at = np.flatnonzero(trained)
        if not len(at):
            return cut
        mine = steps[at]
        before = np.concatenate(([self.train.last_step], mine[:-1]))
        back = np.flatnonzero(mine < before)
        cut[at[back]] = mine[back]
        self.rewind_count += len(back)
        recent = back[-100:]
        pairs = zip(before[recent].tolist(), mine[recent].tolist(), strict=True)
        self.rewinds = [*self.rewinds, *pairs][-100:]
        return cut


def _classes(rows: Rows) -> tuple[Mask, Mask]:
    """Which rows are evaluations, and which are training rows; some are both."""
    has_eval = np.zeros(len(rows), dtype=np.bool_)
    for name, values in rows.columns.items():
        if names.is_eval(name):
            has_eval |= ~is_missing(values)
    loss = rows.columns.get("loss")
    has_loss = np.zeros(len(rows), dtype=np.bool_) if loss is None else ~is_missing(loss)
    unnamed = rows.kinds == 0
    evaluated = (rows.kinds == _EVAL) | (unnamed & has_eval)
    trained = (rows.kinds == _TRAIN) | (unnamed & (has_loss | ~has_eval))
    return evaluated, trained


def _is_training(name: str) -> bool:
    return not names.is_eval(name) and name not in names.PLACES


def _select(
    rows: Rows, chosen: Mask, both: Mask, elsewhere: Callable[[str], bool]
) -> dict[str, Column]:
    """The chosen rows' columns; of a row on both sides those that belong `elsewhere` are out."""
    whole, shared = bool(chosen.all()), both[chosen]
    found = {}
    for name, values in rows.columns.items():
        found[name] = values if whole else values[chosen]
        if elsewhere(name) and shared.any():
            found[name] = np.where(shared, MISSING, found[name])
    return found


def _one_row_a_step(columns: dict[str, Column]) -> dict[str, Column]:
    """Merges neighbouring rows of one step, the last present value of each column standing."""
    steps = columns["step"]
    begins = np.flatnonzero(np.concatenate(([True], steps[1:] != steps[:-1])))
    if len(begins) == len(steps):
        return columns
    merged = {}
    places = np.arange(len(steps))
    ends = np.append(begins[1:], len(steps)) - 1
    for name, values in columns.items():
        present = np.where(is_missing(values), -1, places)
        newest = np.maximum.reduceat(present, begins)
        merged[name] = np.where(newest >= 0, values[np.maximum(newest, 0)], MISSING)
    merged["step"] = steps[ends]
    return merged


def _last_word(columns: dict[str, Column]) -> dict[str, Column]:
    """Leaves out rows that a later row with the same or a smaller step replaces."""
    steps = columns["step"]
    later = np.minimum.accumulate(np.append(steps[1:], np.inf)[::-1])[::-1]
    stands = steps < later
    if stands.all():
        return columns
    return {name: values[stands] for name, values in columns.items()}
