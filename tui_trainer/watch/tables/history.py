"""Growing tables of a run: training rows and evaluations, steps never falling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tui_trainer.watch.snapshots import MISSING, Column
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.growing_table import GrowingTable
from tui_trainer.watch.tables.metric_decoder import DecodedRows, is_missing

Mask = NDArray[np.bool_]

_TRAIN, _EVAL = 1, 2


class History:
    """The two tables of a metrics file, fed with its rows in order."""

    def __init__(self) -> None:
        self.train = GrowingTable()
        self.evals = GrowingTable()
        self.rewinds: list[tuple[float, float]] = []
        self.rewind_count = 0
        self.stepless = 0
        self._rows = 0
        self._has_steps = False
        self._step = 0.0

    def append(self, rows: DecodedRows) -> None:
        """Adds rows: to the evaluations what is one's, to the training rows what is not.

        A row without a step counts as the next one in a file that has none, and belongs to the
        newest step in a file that has them.
        """
        rows = self._with_steps(rows)
        if not len(rows):
            return
        evaluated, trained = _classes(rows)
        steps = rows.columns["step"]
        if steps[0] < self.train.last_step or (steps[1:] < steps[:-1]).any():
            cut = self._note_rewinds(steps, trained)
            after = np.minimum.accumulate(np.append(cut, np.inf)[::-1])[::-1]
            if np.isfinite(after[0]):
                self.evals.drop_from(float(after[0]))
            # An evaluation stands unless a later training row went back to it or before it.
            evaluated &= steps < after[1:]
        both = evaluated & trained
        for table, mine, theirs in (
            (self.train, trained, metric_names.is_eval),
            (self.evals, evaluated, _is_training),
        ):
            chosen = _select(rows, mine, both, theirs)
            if chosen:
                table.extend(chosen)

    def _with_steps(self, rows: DecodedRows) -> DecodedRows:
        count = len(rows)
        steps = rows.columns.get("step", np.full(count, MISSING))
        given: Mask = np.isfinite(steps)
        self._rows += count
        if not self._has_steps and not given.any():
            self.stepless += count
            counted = np.arange(self._rows - count + 1, self._rows + 1, dtype=np.float64)
            return DecodedRows({**rows.columns, "step": counted}, rows.kinds)
        if not given.all() or not self._has_steps:
            rows, steps = self._fill_steps(rows, steps, given)
        if len(steps):
            self._step = float(steps[-1])
        return rows

    def _fill_steps(
        self, rows: DecodedRows, steps: Column, given: Mask
    ) -> tuple[DecodedRows, Column]:
        first = 0
        if not self._has_steps:
            # What came before the first step (a header, say) has no place among the steps.
            first = int(np.argmax(given))
            self.stepless += first
            self.train, self.evals = GrowingTable(), GrowingTable()
            self._has_steps = True
        self.stepless += int((~given[first:]).sum())
        known = np.maximum.accumulate(np.where(given, np.arange(len(steps)), -1))
        filled = np.where(known >= 0, steps[np.maximum(known, 0)], self._step)[first:]
        columns = {name: values[first:] for name, values in rows.columns.items()}
        return DecodedRows({**columns, "step": filled}, rows.kinds[first:]), filled

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


def _classes(rows: DecodedRows) -> tuple[Mask, Mask]:
    """Which rows are evaluations, and which are training rows; some are both."""
    if rows.kinds.all():
        return rows.kinds == _EVAL, rows.kinds == _TRAIN
    has_eval = np.zeros(len(rows), dtype=np.bool_)
    for name, values in rows.columns.items():
        if metric_names.is_eval(name):
            has_eval |= ~is_missing(values)
    loss = rows.columns.get("loss")
    has_loss = np.zeros(len(rows), dtype=np.bool_) if loss is None else ~is_missing(loss)
    unnamed = rows.kinds == 0
    evaluated = (rows.kinds == _EVAL) | (unnamed & has_eval)
    trained = (rows.kinds == _TRAIN) | (unnamed & (has_loss | ~has_eval))
    return evaluated, trained


def _is_training(name: str) -> bool:
    return not metric_names.is_eval(name) and name not in metric_names.PLACES


def _select(
    rows: DecodedRows, chosen: Mask, both: Mask, elsewhere: Callable[[str], bool]
) -> dict[str, Column]:
    """The chosen rows' columns; of a row on both sides those that belong `elsewhere` are out."""
    at = np.flatnonzero(chosen)
    whole, shared = len(at) == len(chosen), both[at]
    any_shared = bool(shared.any())
    found = {}
    for name, values in rows.columns.items() if len(at) else ():
        found[name] = values if whole else values[at]
        if any_shared and elsewhere(name):
            found[name] = np.where(shared, MISSING, found[name])
    return found
