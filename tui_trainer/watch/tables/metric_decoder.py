"""Fast decoding of metric lines, JSON objects of any shape, into columns.

Each slice of lines is decoded into a struct of the fields seen so far. If that fails, it is tried
again with nulls allowed, then with `NaN`, `Infinity` and numbers out of range replaced by null.
After that the slice is halved until the lines that do not fit are separate; those are decoded one
by one, and their new fields added to the struct.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, repeat
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.watch.snapshots import MISSING, Column, is_missing
from tui_trainer.watch.tables import metric_names

# Below this many bytes, decoding each line costs less than making a struct.
TYPED_FROM = 8 * 1024
_SMALL = 2 * 1024
MOST_COLUMNS = 256
_Text = bool | str | list[Any] | dict[str, Any]
_TYPES: dict[str, Any] = {"number": float, "nullable": float | None, "text": _Text, "mixed": Any}
_ERRORS = BAD_CONTENT
_BOM = b"\xef\xbb\xbf"
_KINDS = {"train": 1, "eval": 2}
_NEWLINE = 10
_STAND_IN_PREFIX = "\ue000"  # a private-use character, with which names do not begin
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_FEW_EVALS = 50
_NON_FINITE = "[-+]?(?:nan|inf(?:inity)?)"  # in any case
_NON_FINITE_TEXT = re.compile(_NON_FINITE, re.IGNORECASE)
_NON_FINITE_JSON = re.compile(
    rb"(?<=[:,\[\s])%s(?=\s*[,}\]])" % _NON_FINITE.encode(), re.IGNORECASE
)
_SPACE = 32
_LARGE = re.compile(rb"(?<=[:,\[\s])-?[0-9.]+(?:[eE]\+?[0-9]{3,}|[0-9]{290,})(?=\s*[,}\]])")


@dataclass(frozen=True, eq=False)
class DecodedRows:
    """Consecutive rows as columns.

    A field that a line lacks is `MISSING`, one that is null or not finite is NaN.
    """

    columns: dict[str, Column]  # by canonical name, or by the name found
    kinds: np.typing.NDArray[np.int8]  # the field `kind` of each line: 1 train, 2 eval, 0 other

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass
class LineProblem:
    """Lines from which no row was read."""

    unreadable: int = 0  # lines that are not JSON
    first_unreadable: int = 0  # number of the first of them, from 1
    numberless: int = 0  # lines without a metric
    columns_over: bool = False  # there are more than `MOST_COLUMNS` fields


class MetricDecoder:
    """Decodes whole lines, and learns the fields of the file from them."""

    def __init__(self, typed_from: int = TYPED_FROM) -> None:
        self.problems = LineProblem()
        self.lines = 0
        self._typed_from = typed_from
        self._fields: dict[str, str] = {}  # name -> "number", "text" or "mixed"
        self._nullable: set[str] = set()
        self._typable = True  # whether a struct can be made of the fields
        self._escaped: dict[str, str] = {}  # name -> its stand-in in the struct
        self._decoder: msgspec.json.Decoder[Any] | None = None
        self._has_non_finite = False
        self._error = ""
        self._dicts = msgspec.json.Decoder(dict[str, Any])

    def feed(self, data: bytes) -> Iterator[DecodedRows]:
        """Decodes whole lines; yields their rows in order."""
        if len(data) >= self._typed_from and not self._fields:
            # The first few lines give the fields, so that the rest is decoded at once.
            end = data.find(b"\n", _SMALL) + 1 or len(data)
            yield from self._decode_each(data[:end])
            data = data[end:]
        if data:
            yield from self._decode(data)

    def _decode(self, data: bytes) -> Iterator[DecodedRows]:
        if len(data) < self._typed_from or not self._typable:
            yield from self._decode_each(data)
            return
        rows = self._decode_lenient(data)
        if rows is not None:
            yield rows
            return
        middle = data.find(b"\n", len(data) // 2) + 1
        if len(data) <= max(_SMALL, self._typed_from) or not 0 < middle < len(data):
            yield from self._decode_each(data)
            return
        yield from self._decode_half(data[:middle])
        yield from self._decode_half(data[middle:])

    def _decode_half(self, data: bytes) -> Iterator[DecodedRows]:
        if len(data) <= _SMALL:
            yield from self._decode_each(data)
        else:
            yield from self._decode(data)

    def _decode_lenient(self, data: bytes) -> DecodedRows | None:
        """Decodes all lines at once, with values that JSON does not allow replaced by null. None
        where a line still does not fit."""
        usual = null_usual(data) if self._has_non_finite else data
        rows = self._typed(usual)
        if rows is None and not self._has_non_finite and "malformed" in self._error:
            usual = null_usual(data)
            rows = self._typed(usual) if usual != data else None
            self._has_non_finite = rows is not None
        if rows is None and "malformed" in self._error:
            named = null_names(usual)
            rows, usual = self._typed(named) if named != usual else None, named
        if rows is None and "out of range" in self._error:
            large = null_large(usual)
            rows = self._typed(large) if large != usual else None
        return rows

    def _typed(self, data: bytes) -> DecodedRows | None:
        """Decodes all lines at once; None where one does not fit."""
        self._error = ""
        found = self._decoded(data)
        if found is None:
            return None
        count = len(found)
        newlines = int(np.count_nonzero(np.frombuffer(data, np.uint8) == _NEWLINE))
        if count != newlines:
            full = sum(1 for line in data.split(b"\n") if line.strip(b" \t\r"))
            if count != full:  # objects over several lines, or several on one
                return None
        self.lines += newlines
        columns, width = {}, len(self._fields) + 1
        # Three times as fast as reading each field of each row.
        flat = list(chain.from_iterable(map(msgspec.structs.astuple, found)))
        for index, (name, kind) in enumerate(self._fields.items(), start=1):
            if kind == "text":
                continue
            values = flat[index::width]
            if kind == "number" and name not in self._nullable:
                columns[name] = np.frombuffer(array("d", values))
            elif kind == "number":
                columns[name] = _nulls_to_nan(values)
            else:
                columns[name] = np.fromiter(map(_to_float, values), np.float64, count)
        return self._finish(columns, _kind_numbers(flat[::width]))

    def _with_stand_ins(self, data: bytes) -> bytes:
        """Replaces the names that need an escape, in the forms in which Python, JavaScript and
        msgspec write them. A line with another form does not fit the struct."""
        for name, stand_in in self._escaped.items():
            plain = json.dumps(name, ensure_ascii=False)
            for written in {json.dumps(name), plain}:
                data = data.replace(written.encode(), f'"{stand_in}"'.encode())
        return data

    def _decoded(self, data: bytes) -> list[Any] | None:
        if self._escaped:
            data = self._with_stand_ins(data)
        self._decoder = self._decoder or self._make_decoder(False)
        try:
            return self._decoder.decode_lines(data)
        except _ERRORS as error:
            self._error = str(error)
        if "got `null`" not in self._error:
            return None
        try:
            found = self._make_decoder(True).decode_lines(data)
        except _ERRORS as error:
            self._error = str(error)
            return None
        for index, (name, kind) in enumerate(self._fields.items()):
            if kind == "number" and None in map(attrgetter(f"f{index}"), found):
                self._nullable.add(name)
        self._decoder = None
        return found

    def _decode_each(self, data: bytes) -> Iterator[DecodedRows]:
        records: list[dict[str, Any]] = []
        for line in data.split(b"\n")[: data.count(b"\n") or None]:
            self.lines += 1
            if not line.strip(b" \t\r"):
                continue
            found = self._objects(line)
            if found is None:
                self.problems.unreadable += 1
                self.problems.first_unreadable = self.problems.first_unreadable or self.lines
            else:
                records.extend(found)
        if not records:
            return
        for record in records:
            self._learn(record)
        columns = {}
        for name, kind in self._fields.items():
            if kind != "text":
                values = (_to_float(record.get(name, MISSING)) for record in records)
                columns[name] = np.fromiter(values, np.float64, len(records))
        yield self._finish(columns, _kind_numbers([record.get("kind") for record in records]))

    def _objects(self, line: bytes) -> list[dict[str, Any]] | None:
        line = line.removeprefix(_BOM)
        try:
            return self._dicts.decode_lines(line)
        except _ERRORS:
            pass
        try:
            return self._dicts.decode_lines(null_non_finite(line))
        except _ERRORS:
            return None

    def _learn(self, record: dict[str, Any]) -> None:
        for name, value in record.items():
            if name == "kind":
                continue
            kind = "number" if value is None or _is_number(value) else "text"
            known = self._fields.get(name)
            if known is None and len(self._fields) >= MOST_COLUMNS:
                if not self.problems.columns_over:
                    self.problems.columns_over = True
                    self._typable = not self._escaped  # another form would go unnoticed
                    self._decoder = None
            elif known is None or known not in (kind, "mixed"):
                self._fields[name] = kind if known is None else "mixed"
                self._decoder = None
                # msgspec refuses structs whose fields need an escape in JSON.
                if _ESCAPED.search(name) is not None:
                    self._escaped[name] = f"{_STAND_IN_PREFIX}{len(self._escaped)}"
                elif name.startswith(_STAND_IN_PREFIX):
                    self._typable = False

    def _make_decoder(self, nulls: bool) -> msgspec.json.Decoder[Any]:
        """With `nulls` any number may be null, otherwise only those that were null before."""
        fields = []
        for name, kind in self._fields.items():
            nullable = kind == "number" and (nulls or name in self._nullable)
            written = self._escaped.get(name, name)
            fields.append((written, "nullable" if nullable else kind))
        return _decoder_of(tuple(fields), not self.problems.columns_over)

    def _finish(self, columns: dict[str, Column], kinds: np.typing.NDArray[np.int8]) -> DecodedRows:
        """Merges aliases and removes rows without a measured value."""
        merged: dict[str, Column] = {
            metric_names.CANONICAL.get(n, n): v for n, v in columns.items()
        }
        if len(merged) < len(columns):
            for name in sorted(columns, key=_alias_rank, reverse=True):
                to, values = metric_names.CANONICAL.get(name, name), columns[name]
                merged[to] = np.where(is_missing(values), merged[to], values)
        measured = np.zeros(len(kinds), dtype=np.bool_)
        for name, values in merged.items():
            if name not in metric_names.INDEX_COLUMNS:
                if not np.isnan(values).any():
                    return DecodedRows(merged, kinds)
                measured |= ~is_missing(values)
        if not measured.all():
            self.problems.numberless += int(len(measured) - measured.sum())
            merged = {name: values[measured] for name, values in merged.items()}
            kinds = kinds[measured]
        return DecodedRows(merged, kinds)


@lru_cache(maxsize=128)
def _decoder_of(fields: tuple[tuple[str, str], ...], closed: bool) -> msgspec.json.Decoder[Any]:
    """A decoder of lines with these fields, shared by all files that have them."""
    members: list[tuple[str, Any, Any]] = [("kind", Any, None)]
    renamed: dict[str, str] = {}
    for index, (name, kind) in enumerate(fields):
        members.append((f"f{index}", _TYPES[kind], MISSING if kind != "text" else ""))
        renamed[f"f{index}"] = name
    made = msgspec.defstruct(
        "Line", members, rename=renamed, gc=False, forbid_unknown_fields=closed
    )
    return msgspec.json.Decoder(made)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _to_float(value: Any) -> float:
    if value is None:
        return math.nan
    if not _is_number(value):
        return MISSING
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _nulls_to_nan(values: list[Any]) -> Column:
    nulls = values.count(None)
    if nulls == len(values):
        return np.full(nulls, np.nan)
    if nulls:
        values = [math.nan if value is None else value for value in values]
    return np.frombuffer(array("d", values))


def _kind_numbers(kinds: list[Any]) -> np.typing.NDArray[np.int8]:
    """1 for a training line, 2 for an evaluation, 0 for neither."""
    count, trained = len(kinds), kinds.count("train")
    if trained == count:
        return np.ones(count, dtype=np.int8)
    others = count - trained
    if others < _FEW_EVALS and kinds.count("eval") == others:
        found, index = np.ones(count, dtype=np.int8), -1
        for _ in range(others):
            index = kinds.index("eval", index + 1)
            found[index] = 2
        return found
    try:
        return np.fromiter(map(_KINDS.get, kinds, repeat(0)), np.int8, count)
    except TypeError:  # a list or an object among them
        return np.fromiter((_KINDS.get(str(kind), 0) for kind in kinds), np.int8, count)


_RANKS = {
    alias: rank for group in metric_names.ALIASES.values() for rank, alias in enumerate(group)
}


def _alias_rank(name: str) -> int:
    return _RANKS.get(name, 0)


def is_non_finite(text: str) -> bool:
    """Whether a text is the name of a number that is not finite: `NaN`, `-inf`, `Infinity`."""
    return _NON_FINITE_TEXT.fullmatch(text) is not None


def null_non_finite(data: bytes) -> bytes:
    """Replaces non-finite numbers (`NaN`, `Infinity`, `1e999`) in JSON by null."""
    return null_large(null_names(data))


def null_names(data: bytes) -> bytes:
    """Replaces the names only, in any form; a text that looks like one may change too."""
    return _NON_FINITE_JSON.sub(b"null", data)


def null_large(data: bytes) -> bytes:
    """Replaces the numbers out of range only."""
    return _LARGE.sub(_null_if_large, data)


def null_usual(data: bytes) -> bytes:
    """Replaces the names as Python's json writes them, many times faster; assumes that all are
    spaced like the first."""
    for name in (b"NaN", b"-Infinity", b"Infinity"):
        index = data.find(name)
        if index > 1:
            before = b": " if data[index - 1] == _SPACE else b":"
            data = data.replace(before + name, before + b"null")
    return data


def _null_if_large(match: re.Match[bytes]) -> bytes:
    try:
        return match[0] if math.isfinite(float(match[0])) else b"null"
    except ValueError:
        return match[0]
