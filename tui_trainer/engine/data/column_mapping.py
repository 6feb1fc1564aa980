"""`data.columns`: names of a file's fields for the known ones, and a proposal for fields that are
not recognised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data import known_fields as known
from tui_trainer.text.similar import nearest

_SAMPLED = 200  # rows that a proposal is made from
# Names of columns that are neither a question nor an answer.
_NO_TEXT = re.compile(r"(.*_)?(id|ids|uuid|hash|url|source|system|system_prompt|split)", re.I)
_MOST_CLASSES = 0.5  # of the sampled rows: a column with more different values has no classes


class ColumnMapping:
    """Renames the fields of rows, and notes which were there."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._columns = dict(columns)
        self._missing = set(columns.values())
        self._seen: dict[str, None] = {}  # names of fields, where something is missing
        self._unknown: list[dict[str, Any]] = []  # rows that are not recognised

    def mapped(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return a row with its fields renamed. A field of the same name that is not the mapped
        one is kept under another name, so that it is listed as not used."""
        if not self._columns:
            return values
        row = dict(values)
        taken = {own: row.pop(own) for own in set(self._columns.values()) if own in row}
        self._missing -= taken.keys()
        if self._missing:
            self._seen.update(dict.fromkeys(map(str, values)))
        for name, own in self._columns.items():
            if own in taken:
                if name in row:
                    row[f"{name} (not mapped)"] = row.pop(name)
                row[name] = taken[own]
        return row

    def note(self, values: dict[str, Any]) -> None:
        """Keep a row that is not recognised, for the proposal."""
        if len(self._unknown) < _SAMPLED:
            self._unknown.append(values)

    def check(self, files: str) -> None:
        """Raise `UserError` for a mapped column that no row has."""
        for name, own in self._columns.items():
            if own in self._missing and self._seen:
                near = nearest(own, list(self._seen))
                has = ", ".join(known.printable(column) for column in list(self._seen)[:20])
                raise UserError(
                    f"{files}: data.columns reads {name} from {own!r}, which no row has"
                    f"{f'; did you mean {near!r}?' if near else ''} (fields: {has})"
                )

    def proposal(self, *, labelled: bool) -> str:
        """Return the sentence for files of which no row is recognised."""
        names = ", ".join(dict.fromkeys(str(key) for row in self._unknown for key in row))
        if labelled:
            needed = "a classification needs the fields text and label (or category)"
        else:
            needed = (
                f"one of these is needed: {', '.join(known.CONVERSATIONS[:2])}, "
                f"{', '.join('/'.join(pair) for pair in known.PAIRS[:4])}, text"
            )
        columns = self._guess(labelled=labelled)
        line = ", ".join(f"{name} = {_toml(own)}" for name, own in columns.items())
        which = f"; or name them, such as data.columns = {{ {line} }}" if columns else ""
        return f"{known.NOT_RECOGNISED} ({known.printable(names)}); {needed}{which}"

    def _guess(self, *, labelled: bool) -> dict[str, str]:
        """Return the mapping that is most likely meant; empty where no column has texts."""
        lengths: dict[str, int] = {}
        for name in dict.fromkeys(key for row in self._unknown for key in row):
            values = [row.get(name) for row in self._unknown]
            if not labelled and all(_is_texts(value) for value in values):
                return {"conversations": name}
            if _NO_TEXT.fullmatch(name):
                continue
            if all(isinstance(value, str | None) for value in values):
                lengths[name] = sum(len(value) for value in values if isinstance(value, str))
        texts = sorted(lengths, key=lambda name: -lengths[name])
        if not texts:
            return {}
        if labelled:
            label = self._classes_besides(texts[0])
            return {"text": texts[0], "label": label} if label else {}
        if len(texts) == 1:
            return {"text": texts[0]}
        question, answer = sorted(texts[:2], key=list(lengths).index)
        return {"question": question, "answer": answer}

    def _classes_besides(self, text: str) -> str | None:
        """Return the column other than `text` with the fewest different values, more than one."""
        rows = self._unknown
        counts = {}
        for name in dict.fromkeys(key for row in rows for key in row if key != text):
            values = [row.get(name) for row in rows]
            different = {value for value in values if isinstance(value, str | int)}
            if 1 < len(different) <= max(2, len(rows) * _MOST_CLASSES):
                counts[name] = len(different)
        return min(counts, key=lambda name: counts[name], default=None)


def _is_texts(value: Any) -> bool:
    """Return whether a value is a list of texts, by the user and the assistant in turn."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(x, str) for x in value)


def _toml(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
