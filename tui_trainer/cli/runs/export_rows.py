"""The recorded rows of a run as they are exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui_trainer.contracts.errors import UserError
from tui_trainer.text.similar import nearest
from tui_trainer.watch.error_boundary import caught
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.details.run_details import read_rows
from tui_trainer.watch.snapshots import MetricTable, is_missing

_POSITION = ("step", "epoch", "time")
# Fields that are in every row: no value at all in a column means non-finite values.
_MEASURED = ("loss", "val_loss", "gradient_norm")
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class ExportRows:
    """Training rows and evaluations by step; of one step the training row comes first.

    `picked` matches each row's index in its table, `from_train` which of the two tables that is.
    """

    names: tuple[str, ...]
    tables: tuple[MetricTable, MetricTable]
    picked: NDArray[np.intp]
    from_train: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.picked)

    def chunks(self) -> Iterator[tuple[list[str], list[list[float | None]]]]:
        """The kinds and the columns of up to `_CHUNK` rows at a time; None is a missing value."""
        for begin in range(0, len(self), _CHUNK):
            chosen = slice(begin, begin + _CHUNK)
            from_train, picked = self.from_train[chosen], self.picked[chosen]
            kinds = np.where(from_train, "train", "eval").tolist()
            yield kinds, [self._column(name, from_train, picked) for name in self.names]

    def _column(
        self, name: str, from_train: NDArray[np.bool_], picked: NDArray[np.intp]
    ) -> list[float | None]:
        found: NDArray[np.object_] = np.full(len(picked), None, dtype=object)
        for table, mine in zip(self.tables, (from_train, ~from_train), strict=True):
            column = table.column(name)
            if len(column) and mine.any():
                values = column[picked[mine]]
                known = values.astype(object)
                known[is_missing(values)] = None
                if not table.count(name) and name not in _MEASURED:
                    known[:] = None  # null in every row: the field was not used
                found[mine] = known
        return [None if value is None else float(value) for value in found]


def rows_of(location: RunLocation, metrics: Sequence[str] = ()) -> ExportRows:
    """Every recorded row, or those with a value of one of `metrics`. Raises `UserError`."""
    try:
        tables = read_rows(location)
    except Exception as error:
        reason = caught(error, location.path)
        raise UserError(f"{location.path} cannot be read: {reason}", 1) from None
    if any(table.thinning > 1 for table in tables):
        raise UserError(f"{location.path} has more rows than can be exported", 1)
    present = list(dict.fromkeys((*tables[0].names(), *tables[1].names())))
    for name in metrics:
        if name not in present:
            guess = nearest(name, present)
            hint = f"did you mean {guess}?" if guess else f"it has: {', '.join(present) or 'none'}"
            raise UserError(f"run {location.name} has no metric {name!r}; {hint}")
    wanted = tuple(dict.fromkeys(metrics)) or tuple(present)
    position = [name for name in _POSITION if any(len(table.column(name)) for table in tables)]
    kept = [_row_indices(table, wanted if metrics else ()) for table in tables]
    picked = np.concatenate(kept)
    from_train = np.repeat([True, False], [len(part) for part in kept])
    steps = np.concatenate(
        [table.column("step")[part] for table, part in zip(tables, kept, strict=True)]
    )
    order = np.argsort(steps, kind="stable")
    return ExportRows((*position, *wanted), tables, picked[order], from_train[order])


def _row_indices(table: MetricTable, names: Sequence[str]) -> NDArray[np.intp]:
    """The indices of the rows with a value of one of `names`; without names, of all rows."""
    if not names:
        return np.arange(len(table), dtype=np.intp)
    matches = np.zeros(len(table), dtype=np.bool_)
    for name in names:
        column = table.column(name)
        if len(column):
            matches |= ~is_missing(column)
    return np.flatnonzero(matches)
