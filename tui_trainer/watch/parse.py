"""Metric lines to columns: JSON objects of any shape, fast.

Lines are decoded slice by slice into a struct made of the fields seen so far. A slice that does
not fit is tried again with `NaN`, `Infinity` and numbers past the range put to null, then halved
until the lines that do not fit are alone; those are looked at one by one, and new fields among
them are learnt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from tui_trainer.watch import names
from tui_trainer.watch.view import MISSING, Column

# Below this many bytes, looking at each line costs less than making a struct.
TYPED_FROM = 8 * 1024
_SMALL = 2 * 1024
MOST_COLUMNS = 256
_Text = bool | str | list[Any] | dict[str, Any]
_WORD = re.compile(rb"(?<=[:,\[\s])([-+]?(?:NaN|nan|Infinity|inf))(?=\s*[,}\]])")
_LARGE = re.compile(rb"(?<=[:,\[\s])-?[0-9.]+(?:[eE]\+?[0-9]{3,}|[0-9]{290,})(?=\s*[,}\]])")
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, eq=False)
class Rows:
    """Columns of one stretch of lines, by canonical name where the name is known.

    `kinds` is the line's own word (1 train, 2 eval, 0 none). A field that a line lacks is
    `MISSING`, one that is null or not finite is NaN.
    """

    columns: dict[str, Column]
    kinds: np.typing.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass
class Odd:
    """Lines that gave nothing, with the number of the first (1 is the file's first line)."""

    unreadable: int = 0
    first_unreadable: int = 0
    numberless: int = 0
    columns_over: set[str] = field(default_factory=set)


class MetricDecoder:
    """Decodes stretches of whole lines, and learns the fields of the file as it goes."""

    def __init__(self, typed_from: int = TYPED_FROM) -> None:
        self.odd = Odd()
        self.lines = 0
        self._typed_from = typed_from
        self._fields: dict[str, str] = {}  # name -> "number", "text" or "mixed"
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._dicts = msgspec.json.Decoder(dict[str, Any])

    def feed(self, data: bytes) -> Iterator[Rows]:
        """The rows of whole lines, in order, in one stretch or several."""
        if len(data) >= self._typed_from and not self._fields:
            # The first few lines teach the fields, so that the rest is decoded at once.
            end = data.find(b"\n", _SMALL) + 1 or len(data)
            yield from self._one_by_one(data[:end])
            data = data[end:]
        if data:
            yield from self._decode(data)

    def _decode(self, data: bytes) -> Iterator[Rows]:
        if len(data) < self._typed_from:
            yield from self._one_by_one(data)
            return
        rows = self._typed(data)
        if rows is None:
            nulled = null_words(data)
            rows = self._typed(nulled) if nulled != data else None
        if rows is not None:
            yield rows
            return
        middle = data.find(b"\n", len(data) // 2) + 1
        if len(data) <= max(_SMALL, self._typed_from) or not 0 < middle < len(data):
            yield from self._one_by_one(data)
            return
        yield from self._decode_half(data[:middle])
        yield from self._decode_half(data[middle:])

    def _decode_half(self, data: bytes) -> Iterator[Rows]:
        if len(data) <= _SMALL:
            yield from self._one_by_one(data)
        else:
            yield from self._decode(data)

    def _typed(self, data: bytes) -> Rows | None:
        """All lines at once, or None where one does not fit."""
        if self._decoder is None:
            self._decoder = self._make_decoder()
        try:
            found = self._decoder.decode_lines(data)
        except _ERRORS:
            return None
        newlines = data.count(b"\n")
        if len(found) != newlines:
            full = sum(1 for line in data.split(b"\n") if line.strip(b" \t\r"))
            if len(found) != full:  # objects over several lines, or several on one
                return None
        self.lines += newlines
        columns = {}
        for index, (name, kind) in enumerate(self._fields.items()):
            if kind != "text":
                columns[name] = _column(map(attrgetter(f"f{index}"), found), len(found), kind)
        kinds = np.fromiter(map(_kind_number, map(attrgetter("kind"), found)), np.int8, len(found))
        return self._finish(columns, kinds)

    def _one_by_one(self, data: bytes) -> Iterator[Rows]:
        records: list[dict[str, Any]] = []
        for line in data.split(b"\n")[: data.count(b"\n") or None]:
            self.lines += 1
            if not line.strip(b" \t\r"):
                continue
            found = self._objects(line)
            if found is None:
                self.odd.unreadable += 1
                self.odd.first_unreadable = self.odd.first_unreadable or self.lines
            else:
                records.extend(found)
        if not records:
            return
        for record in records:
            self._learn(record)
        columns = {}
        for name, kind in self._fields.items():
            if kind != "text":
                values = (record.get(name, MISSING) for record in records)
                columns[name] = _column(values, len(records), "mixed")
        kinds = np.array([_kind_number(record.get("kind")) for record in records], dtype=np.int8)
        yield self._finish(columns, kinds)

    def _objects(self, line: bytes) -> list[dict[str, Any]] | None:
        line = line.removeprefix(_BOM)
        try:
            return self._dicts.decode_lines(line)
        except _ERRORS:
            pass
        try:
            return self._dicts.decode_lines(null_words(line))
        except _ERRORS:
            return None

    def _learn(self, record: dict[str, Any]) -> None:
        for name, value in record.items():
            if name == "kind":
                continue
            kind = "number" if value is None or _is_number(value) else "text"
            known = self._fields.get(name)
            if known is None and len(self._fields) >= MOST_COLUMNS:
                if name not in self.odd.columns_over and len(self.odd.columns_over) < 1000:
                    self.odd.columns_over.add(name)
                    self._decoder = None
            elif known is None or known not in (kind, "mixed"):
                self._fields[name] = kind if known is None else "mixed"
                self._decoder = None

    def _make_decoder(self) -> msgspec.json.Decoder[Any]:
        types: dict[str, Any] = {"number": float | None, "text": _Text, "mixed": Any}
        fields: list[tuple[str, Any, Any]] = [("kind", Any, None)]
        renamed: dict[str, str] = {}
        for index, (name, kind) in enumerate(self._fields.items()):
            fields.append((f"f{index}", types[kind], MISSING if kind != "text" else ""))
            renamed[f"f{index}"] = name
        made = msgspec.defstruct(
            "Line",
            fields,
            rename=renamed,
            gc=False,
            forbid_unknown_fields=not self.odd.columns_over,
        )
        return msgspec.json.Decoder(made)

    def _finish(self, columns: dict[str, Column], kinds: np.typing.NDArray[np.int8]) -> Rows:
        """Merges aliases and leaves out rows in which nothing was measured."""
        merged: dict[str, Column] = {}
        for name in sorted(columns, key=_alias_rank):
            to = names.CANONICAL.get(name, name)
            if to in merged:
                merged[to] = np.where(is_missing(merged[to]), columns[name], merged[to])
            else:
                merged[to] = columns[name]
        measured = np.zeros(len(kinds), dtype=np.bool_)
        for name, values in merged.items():
            if name not in names.PLACES:
                measured |= ~is_missing(values)
        if not measured.all():
            self.odd.numberless += int(len(measured) - measured.sum())
            merged = {name: values[measured] for name, values in merged.items()}
            kinds = kinds[measured]
        return Rows(merged, kinds)


def is_missing(values: Column) -> np.typing.NDArray[np.bool_]:
    """Where a row had no such field at all."""
    return np.asarray(np.isnan(values) & np.signbit(values))


def null_words(data: bytes) -> bytes:
    """JSON with its non-finite numbers (`NaN`, `Infinity`, `1e999`) put to null."""
    return _LARGE.sub(_null_if_large, _WORD.sub(b"null", data))


def _null_if_large(match: re.Match[bytes]) -> bytes:
    try:
        return match[0] if math.isfinite(float(match[0])) else b"null"
    except ValueError:
        return match[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _column(values: Iterator[Any], count: int, kind: str) -> Column:
    if kind == "mixed":
        values = map(_to_float, values)
        return np.fromiter(values, np.float64, count)
    found = list(values)
    try:
        return np.fromiter(found, np.float64, count)
    except TypeError:  # null among them
        return np.array(found, dtype=np.float64)


def _to_float(value: Any) -> float:
    if value is None:
        return math.nan
    if not _is_number(value):
        return MISSING
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _kind_number(kind: Any) -> int:
    return 1 if kind == "train" else 2 if kind == "eval" else 0


_RANKS = {alias: rank for group in names.ALIASES.values() for rank, alias in enumerate(group)}


def _alias_rank(name: str) -> int:
    return _RANKS.get(name, 0)
