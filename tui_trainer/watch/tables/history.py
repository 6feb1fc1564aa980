"""The two growing tables of a run: training rows and evaluations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tui_trainer.watch.snapshots import MISSING, Column, is_missing
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.growing_table import GrowingTable
from tui_trainer.watch.tables.metric_decoder import DecodedRows

Mask = NDArray[np.bool_]

_TRAIN, _EVAL = 1, 2


class History:
    """The tables of a metrics file, to which its rows are added in order."""

    def __init__(self) -> None:
        self.train = GrowingTable()
        self.evals = GrowingTable()
        self.rewinds: list[tuple[float, float]] = []  # (from step, to step), the newest 100
        self.rewind_count = 0
        self.stepless = 0  # rows without a step
        self._rows = 0
        self._has_steps = False
        self._step = 0.0

    def append(self, rows: DecodedRows) -> None:
        """Adds rows to the tables, evaluations and training rows separately.

        In a file without steps rows are numbered; in a file with steps a row without one belongs
        to the newest step.
        """
        rows = self._with_steps(rows)
        if not len(rows):
            return
        evaluated, trained = _split_kinds(rows)
        steps = rows.columns["step"]
        if steps[0] < self.train.last_step or (steps[1:] < steps[:-1]).any():
            cut = self._record_rewinds(steps, trained)
            after = np.minimum.accumulate(np.append(cut, np.inf)[::-1])[::-1]
            if np.isfinite(after[0]):
                self.evals.drop_from(float(after[0]))
            # An evaluation is kept unless a later training row goes back to its step or before.
            evaluated &= steps < after[1:]
        both = evaluated & trained
        for table, chosen_rows, is_other_kind in (
            (self.train, trained, metric_names.is_eval),
            (self.evals, evaluated, _is_training),
        ):
            chosen = _select(rows, chosen_rows, both, is_other_kind)
            if chosen:
                table.extend(chosen)

    def _with_steps(self, rows: DecodedRows) -> DecodedRows:
        count = len(rows)
        steps = rows.columns.get("step", np.full(count, MISSING))
        has_step: Mask = np.isfinite(steps)
        self._rows += count
        if not self._has_steps and not has_step.any():
            self.stepless += count
            counted = np.arange(self._rows - count + 1, self._rows + 1, dtype=np.float64)
            return DecodedRows({**rows.columns, "step": counted}, rows.kinds)
        if not has_step.all() or not self._has_steps:
            rows, steps = self._fill_steps(rows, steps, has_step)
        if len(steps):
            self._step = float(steps[-1])
        return rows

    def _fill_steps(
        self, rows: DecodedRows, steps: Column, has_step: Mask
    ) -> tuple[DecodedRows, Column]:
        first = 0
        if not self._has_steps:
            # Rows before the first step, such as a header, cannot be placed among the steps.
            first = int(np.argmax(has_step))
            self.stepless += first
            self.train, self.evals = GrowingTable(), GrowingTable()
            self._has_steps = True
        self.stepless += int((~has_step[first:]).sum())
        known = np.maximum.accumulate(np.where(has_step, np.arange(len(steps)), -1))
        filled = np.where(known >= 0, steps[np.maximum(known, 0)], self._step)[first:]
        columns = {name: values[first:] for name, values in rows.columns.items()}
        return DecodedRows({**columns, "step": filled}, rows.kinds[first:]), filled

    def _record_rewinds(self, steps: Column, trained: Mask) -> Column:
        """Records rewinds. Returns, for each row that goes back, the step it goes back to, and
        infinity for all others."""
        cut = np.full(len(steps), np.inf)
        at = np.flatnonzero(trained)
        if not len(at):
            return cut
        train_steps = steps[at]
        before = np.concatenate(([self.train.last_step], train_steps[:-1]))
        back = np.flatnonzero(train_steps < before)
        cut[at[back]] = train_steps[back]
        self.rewind_count += len(back)
        recent = back[-100:]
        pairs = zip(before[recent].tolist(), train_steps[recent].tolist(), strict=True)
        self.rewinds = [*self.rewinds, *pairs][-100:]
        return cut


def _split_kinds(rows: DecodedRows) -> tuple[Mask, Mask]:
    """Masks of the evaluations and of the training rows; a row may be both."""
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
    return not metric_names.is_eval(name) and name not in metric_names.INDEX_COLUMNS


def _select(
    rows: DecodedRows, chosen: Mask, both: Mask, elsewhere: Callable[[str], bool]
) -> dict[str, Column]:
    """The columns of the chosen rows; in rows of both kinds those of the other kind are missing.
    `elsewhere` tells whether a column is of the other kind."""
    at = np.flatnonzero(chosen)
    whole, shared = len(at) == len(chosen), both[at]
    any_shared = bool(shared.any())
    found = {}
    for name, values in rows.columns.items() if len(at) else ():
        found[name] = values if whole else values[at]
        if any_shared and elsewhere(name):
            found[name] = np.where(shared, MISSING, found[name])
    return found
