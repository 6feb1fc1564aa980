"""Counts of the rows of a part that are left out, of fields that are not used, and of shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tui_trainer.contracts.runs.data_report import MOST_LOCATIONS, LeftOutRows, UnusedField
from tui_trainer.engine.data import known_fields as known
from tui_trainer.engine.data.known_fields import LeftOut, RowFields
from tui_trainer.engine.data.rows import Row


class _Occurrences:
    """How often something was found, by its name, and the first locations."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.where: dict[str, list[str]] = {}

    def add(self, name: str, where: str) -> None:
        self.rows[name] += 1
        first = self.where.setdefault(name, [])
        if len(first) < MOST_LOCATIONS:
            first.append(where)


class Mark(NamedTuple):
    """A number that may mark the answer of a row as right or wrong."""

    row: int  # its number
    shape: str  # by which the row was recognised
    field: str  # name
    value: float


class RowCounts:
    """The rows of a part that are left out, and the fields that are not used."""

    def __init__(self) -> None:
        self.reasons = _Occurrences()
        self.fields = _Occurrences()
        self.columns: dict[str, None] = {}  # in the order of the files
        self.shapes: Counter[str] = Counter()  # rows by how they were recognised

    def leave_out(self, out: LeftOut, where: str) -> None:
        self.reasons.add(
            out.reason, f"{where}: {known.printable(out.detail)}" if out.detail else where
        )

    def note_unused(self, fields: RowFields, where: str) -> None:
        for name in fields.unused:
            if name in known.KNOWN:
                self.fields.add(name, where)
            else:
                self.columns[known.printable(name)] = None

    def leave_out_wrong(self, marked: Sequence[Mark], rows: Sequence[Row]) -> list[int]:
        """Return the numbers of the rows of a file with a mark of 0 or -1, which are left out,
        unless other numbers in the file's column show that it has classes."""
        classes = {mark.field for mark in marked if mark.value not in known.MARK_NUMBERS}
        wrong: set[int] = set()
        for mark in marked:
            if mark.row in wrong:
                continue
            if mark.field in classes:
                self.fields.add(mark.field, rows[mark.row].where)
            elif mark.value <= 0:
                self.leave_out(LeftOut(known.marked_wrong(mark.field)), rows[mark.row].where)
                self.shapes[mark.shape] -= 1
                wrong.add(mark.row)
        self.shapes += Counter()  # without those that have no row any more
        return sorted(wrong)

    def left_out(self) -> list[LeftOutRows]:
        return [
            LeftOutRows(reason=reason, rows=rows, where=self.reasons.where[reason])
            for reason, rows in self.reasons.rows.most_common()
        ]

    def unused(self) -> list[UnusedField]:
        return [
            UnusedField(field=name, rows=rows, where=self.fields.where[name])
            for name, rows in sorted(self.fields.rows.items())
        ]
