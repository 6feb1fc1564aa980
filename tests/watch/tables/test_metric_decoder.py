"""Metric lines to tables, against a slow reading line by line with the json module."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.watch.snapshots import MISSING, MetricTable
from tui_trainer.watch.tables import metric_decoder, metric_names
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.metric_decoder import MetricDecoder

Row = dict[str, float]


def value_of(value: Any) -> float | None:
    """A number as a table holds it; None for what is no number."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def row_of(record: dict[str, Any]) -> Row:
    row: Row = {}
    for name, value in record.items():
        number = value_of(value)
        if number is not None and name != "kind":
            row[name] = number
    merged: Row = {}
    for to, aliases in metric_names.ALIASES.items():
        for alias in aliases:
            if alias in row and to not in merged:
                merged[to] = row[alias]
    return {**{n: v for n, v in row.items() if n not in metric_names.CANONICAL}, **merged}


class Slow:
    """The rules, one row at a time."""

    def __init__(self) -> None:
        self.train: list[Row] = []
        self.evals: list[Row] = []
        self.count = 0
        self.has_steps = False
        self.step = 0.0

    def add(self, record: dict[str, Any]) -> None:
        row = row_of(record)
        if not row.keys() - metric_names.INDEX_COLUMNS:
            return
        self.count += 1
        if not math.isnan(row.get("step", math.nan)):
            if not self.has_steps:
                self.train, self.evals, self.has_steps = [], [], True
            self.step = row["step"]
        elif not self.has_steps:
            self.step = self.count
        row["step"] = self.step
        kind = record.get("kind")
        has_eval = any(map(metric_names.is_eval, row))
        is_eval = kind == "eval" or (kind != "train" and has_eval)
        is_train = kind == "train" or (kind != "eval" and ("loss" in row or not has_eval))
        both = is_eval and is_train
        if is_train:
            mine = {n: v for n, v in row.items() if not (both and metric_names.is_eval(n))}
            if self.train and row["step"] < self.train[-1]["step"]:
                self.evals = [r for r in self.evals if r["step"] < row["step"]]
            self.put(self.train, mine)
        if is_eval:
            keep = metric_names.INDEX_COLUMNS
            self.put(
                self.evals,
                {n: v for n, v in row.items() if not both or metric_names.is_eval(n) or n in keep},
            )

    @staticmethod
    def put(rows: list[Row], row: Row) -> None:
        if rows and rows[-1]["step"] == row["step"]:
            rows[-1] = {**rows[-1], **row}
            return
        while rows and rows[-1]["step"] >= row["step"]:
            rows.pop()
        rows.append(row)


def slow(data: bytes) -> Slow:
    table = Slow()
    for line in data.split(b"\n")[: data.count(b"\n")]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            table.add(record)
    return table


def fast(pieces: list[bytes], typed_from: int = metric_decoder.TYPED_FROM) -> History:
    """Tables from whole lines in pieces."""
    decoder, history = MetricDecoder(typed_from), History()
    for piece in pieces:
        for rows in decoder.feed(piece):
            history.append(rows)
    return history


def assert_same(table: MetricTable, rows: list[Row]) -> None:
    assert len(table) == len(rows)
    seen = {name for row in rows for name in row}
    assert seen <= set(table.columns) or not rows
    for name, column in table.columns.items():
        assert not column.flags.writeable
        expected = np.array([row.get(name, MISSING) for row in rows], dtype=np.float64)
        np.testing.assert_array_equal(column, expected)
        lacking = [name not in row for row in rows]
        assert (np.isnan(column) & np.signbit(column)).tolist() == lacking


def lines(*records: dict[str, Any] | str) -> bytes:
    texts = [r if isinstance(r, str) else json.dumps(r) for r in records]
    return "".join(f"{text}\n" for text in texts).encode()


def both_ways(data: bytes) -> History:
    """Reads typed and one by one, compares with the slow reading, gives the tables."""
    expected = slow(data)
    for typed_from in (1, 1 << 40):
        history = fast([data], typed_from)
        assert_same(history.train.table(), expected.train)
        assert_same(history.evals.table(), expected.evals)
    return history


NUMBERS = ["1", "-2.5", "3e-4", "0", "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "null",
           "12345678901234567890123", "1e308", "-0.0", "1E+2"]  # fmt: skip
OTHERS = ['"0.5"', '"text: NaN, x"', "true", "false", "[1, 2]", '{"a": 1}', '["loss"]', '""']
KEYS = ["loss", "train_loss", "train/loss", "lr", "learning_rate", "grad_norm", "eval_loss",
        "val_loss", "val_accuracy", "eval_bleu", "tokens", "note", "epoch", "time"]  # fmt: skip
GARBAGE = [b"", b"   ", b"{", b"}", b"nonsense", b'{"step":1,"lo', b"\xff\xfe\x00", b"[]", b"3",
           b'{"step": 2, "loss": 1.0,}', b"\x00" * 8, b'{"a":' * 50, b"null"]  # fmt: skip


@st.composite
def metric_lines(draw: st.DrawFn) -> bytes:
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(GARBAGE))
    fields = []
    kind = draw(st.sampled_from(["", "", "train", "eval", "other"]))
    if kind:
        fields.append(f'"kind": "{kind}"')
    step_name = draw(st.sampled_from(["step", "step", "step", "_step", "global_step", ""]))
    if step_name:
        step = draw(st.one_of(st.integers(0, 12).map(str), st.sampled_from(["null", "NaN", '"5"'])))
        fields.append(f'"{step_name}": {step}')
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=4)):
        value = draw(st.one_of(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS + OTHERS)))
        fields.append(f'"{key}": {value}')
    gap = draw(st.sampled_from(["", " "]))
    return ("{" + f",{gap}".join(fields) + "}").encode()


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(st.lists(metric_lines(), max_size=25), st.data())
def test_any_lines_in_any_pieces_give_the_slow_table(
    found: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(line + b"\n" for line in found)
    expected = slow(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(found)), max_size=5)))
    pieces = []
    for begin, end in zip([0, *cuts], [*cuts, len(found)], strict=True):
        pieces.append(b"".join(line + b"\n" for line in found[begin:end]))
    for typed_from in (1, 200, 1 << 40):
        history = fast(pieces, typed_from)
        assert_same(history.train.table(), expected.train)
        assert_same(history.evals.table(), expected.evals)


@settings(max_examples=60, deadline=None)
@given(st.lists(metric_lines(), max_size=12))
def test_tables_handed_out_stay_as_they_were(found: list[bytes]) -> None:
    decoder, history, kept = MetricDecoder(), History(), []
    for line in found:
        for rows in decoder.feed(line + b"\n"):
            history.append(rows)
        for table in (history.train.table(), history.evals.table()):
            kept.append((table, {name: column.copy() for name, column in table.columns.items()}))
    for table, copy in kept:
        for name, column in table.columns.items():
            np.testing.assert_array_equal(column, copy[name])


def test_our_own_lines() -> None:
    history = both_ways(
        lines(
            {"kind": "train", "step": 1, "epoch": 0.1, "loss": 2.5, "learning_rate": 1e-4,
             "gradient_norm": 0.8, "phase": "full", "was_predicted": False,
             "prediction_error": None, "step_time_ms": 41.2, "tokens": 812, "examples": 8,
             "time": 1790000000.12},
            {"kind": "train", "step": 2, "epoch": 0.2, "loss": None, "learning_rate": 1e-4,
             "gradient_norm": 0.8, "step_time_ms": 41, "tokens": 80, "examples": 8,
             "time": 1790000001, "nonfinite": ["loss"]},
            {"kind": "eval", "step": 2, "epoch": 0.2, "val_loss": 2.1, "val_accuracy": 0.4,
             "time": 1790000002.5},
        )
    )  # fmt: skip
    train, evals = history.train.table(), history.evals.table()
    assert train.column("tokens").tolist() == [812, 80]
    assert "phase" not in train.columns and "nonfinite" not in train.columns
    assert train.last("loss") == 2.5
    x, y = train.series("loss")
    assert x.tolist() == [1, 2] and math.isnan(y[1])  # not finite: a gap
    assert evals.column("val_loss").tolist() == [2.1]


def test_other_peoples_names() -> None:
    train = both_ways(
        lines({"_step": 1, "train/loss": 3.0, "lr": 0.1, "grad_norm": 2.0, "gpu/temp": 61})
    ).train.table()
    assert {name: column.tolist() for name, column in train.columns.items()} == {
        "step": [1], "loss": [3], "learning_rate": [0.1], "gradient_norm": [2], "gpu/temp": [61],
    }  # fmt: skip


def test_the_canonical_name_wins_over_an_alias() -> None:
    train = both_ways(lines({"step": 1, "train_loss": 9, "loss": 1}, {"step": 2, "train_loss": 8}))
    assert train.train.table().column("loss").tolist() == [1, 8]


def test_rows_that_lack_a_field_are_no_gap_in_it() -> None:
    table = both_ways(
        lines({"step": 1, "loss": 3}, {"step": 2, "lr": 0.1}, '{"step": 3, "loss": NaN}')
    ).train.table()
    x, y = table.series("loss")
    assert x.tolist() == [1, 3]
    assert y[0] == 3 and math.isnan(y[1])
    assert table.series("nothing")[0].tolist() == []


def test_evaluations_are_distinguished_from_training_rows() -> None:
    history = both_ways(
        lines(
            {"step": 10, "eval_loss": 2.0, "eval_bleu": 7.0, "lr": 0.1},
            {"step": 10, "loss": 3.0},
            {"step": 20, "loss": 2.5, "val_loss": 1.9, "time": 5},
        )
    )
    train, evals = history.train.table(), history.evals.table()
    assert train.column("loss").tolist() == [3.0, 2.5]
    assert "val_loss" not in train.columns
    assert evals.column("val_loss").tolist() == [2.0, 1.9]
    assert evals.column("time").tolist()[1] == 5
    assert evals.column("eval_bleu")[0] == 7


def test_lines_without_a_step_are_counted() -> None:
    history = both_ways(lines({"loss": 3}, {"loss": 2}, "oops", {"loss": 1}))
    assert history.train.table().column("step").tolist() == [1, 2, 3]
    assert history.stepless == 3


def test_a_header_before_the_first_step_is_left_out() -> None:
    history = both_ways(lines({"seed": 42, "parameters": 124e6}, {"step": 0, "loss": 3}))
    assert history.train.table().column("step").tolist() == [0]
    assert history.rewind_count == 0
    assert history.stepless == 1


def test_a_line_without_a_step_joins_the_newest() -> None:
    table = both_ways(lines({"step": 5, "loss": 3}, {"lr": 0.5}, {"step": 6, "loss": 2}))
    assert table.train.table().column("learning_rate")[0] == 0.5


def test_a_resumed_run_replaces_its_older_rows() -> None:
    first = [{"kind": "train", "step": s, "loss": float(s)} for s in range(1, 8)]
    again = [{"kind": "train", "step": s, "loss": -float(s)} for s in range(5, 9)]
    evals = [{"kind": "eval", "step": s, "val_loss": float(s)} for s in (4, 6)]
    history = both_ways(lines(*first[:4], evals[0], *first[4:], evals[1], *again))
    assert history.train.table().column("loss").tolist() == [1, 2, 3, 4, -5, -6, -7, -8]
    assert history.evals.table().column("step").tolist() == [4]
    assert history.rewinds == [(7, 5)]


def test_a_view_from_before_a_resume_keeps_its_rows() -> None:
    history = fast([lines(*({"step": s, "loss": float(s)} for s in range(6)))])
    before = history.train.table()
    for rows in MetricDecoder().feed(lines({"step": 2, "loss": -2})):
        history.append(rows)
    assert before.column("loss").tolist() == [0, 1, 2, 3, 4, 5]
    assert history.train.table().column("loss").tolist() == [0, 1, -2]


def test_growth_by_single_rows() -> None:
    decoder, history = MetricDecoder(), History()
    for step in range(5000):
        for rows in decoder.feed(lines({"step": step, "loss": step / 2})):
            history.append(rows)
    table = history.train.table()
    assert table.column("loss").tolist() == [step / 2 for step in range(5000)]


def test_unreadable_lines_are_counted_with_the_first() -> None:
    decoder = MetricDecoder()
    data = lines({"step": 1, "loss": 1}, "", "x", '{"step"', {"note": "hi"}, {"step": 2, "loss": 1})
    assert sum(len(rows) for rows in decoder.feed(data)) == 2
    assert (decoder.problems.unreadable, decoder.problems.first_unreadable) == (2, 3)
    assert decoder.problems.numberless == 1


@pytest.mark.parametrize("bad", [b"garbage", b'{"step": 7, "loss": "x"}', b'{"step":1}{"step":2}'])
def test_one_bad_line_in_a_large_slice_costs_only_itself(bad: bytes) -> None:
    good = [json.dumps({"step": s, "loss": s / 7, "lr": 1e-4}).encode() for s in range(3000)]
    data = b"\n".join([*good[:1500], bad, *good[1500:]]) + b"\n"
    decoder, history = MetricDecoder(), History()
    for rows in decoder.feed(data):
        history.append(rows)
    expected = [s / 7 for s in range(3000)]
    assert [v for v in history.train.table().column("loss").tolist() if v == v][-1500:] == (
        expected[1500:]
    )
    assert decoder.lines == 3001


def test_objects_over_several_lines_are_not_taken_for_lines() -> None:
    pretty = json.dumps({"step": 1, "loss": 2.0}, indent=2).encode() + b"\n"
    data = lines(*({"step": s, "loss": 1.0} for s in range(2000))) + pretty
    assert fast([data]).train.table().column("loss").tolist() == [1.0] * 2000


def test_a_byte_order_mark_and_carriage_returns() -> None:
    history = fast([b'\xef\xbb\xbf{"step":1,"loss":2}\r\n{"step":2,"loss":3}\r\n'])
    assert history.train.table().column("loss").tolist() == [2, 3]


def test_too_many_fields_do_not_fill_the_memory() -> None:
    decoder, history = MetricDecoder(), History()
    wide = lines(*({"step": s, "loss": 1.0, f"metric_{s}": 1.0} for s in range(2000)))
    for rows in decoder.feed(wide):
        history.append(rows)
    table = history.train.table()
    assert len(table.columns) <= metric_decoder.MOST_COLUMNS
    assert len(table) == 2000
    assert decoder.problems.columns_over
