"""Tables of long runs: bounded, and still true to every row."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.watch.snapshots import MISSING, Column, MetricTable
from tui_trainer.watch.tables.growing_table import MOST_ENTRIES, GrowingTable
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.metric_decoder import MetricDecoder

MOST = 32
Row = dict[str, float]
Locations = np.typing.NDArray[np.int_]
VALUES = st.one_of(
    st.floats(-1e3, 1e3, allow_subnormal=False), st.sampled_from([math.nan, 0.0, 1e308, -1e308])
)


@dataclass
class Exact:
    """Every row kept."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        while self.rows and self.rows[-1]["step"] > row["step"]:
            self.rows.pop()
        if self.rows and self.rows[-1]["step"] == row["step"]:
            self.rows[-1] = {**self.rows[-1], **row}
        else:
            self.rows.append(row)

    def column(self, name: str) -> Column:
        return np.array([row.get(name, MISSING) for row in self.rows])


def columns_of(rows: list[Row]) -> dict[str, Column]:
    found = {name: None for row in rows for name in row}
    return {name: np.array([row.get(name, MISSING) for row in rows]) for name in found}


def is_lacking(values: Column) -> list[bool]:
    return [bool(one) for one in np.isnan(values) & np.signbit(values)]


def assert_true_to(table: MetricTable, exact: Exact) -> None:
    """Compares every entry with the rows that it stands for."""
    assert table.rows == len(exact.rows)
    assert len(table) <= MOST
    weights = np.ones(len(table), int) if table.weights is None else table.weights
    assert weights.sum() == table.rows
    assert not len(weights) or weights.max() <= table.thinning
    ends: Locations = np.cumsum(weights)
    assert table.column("step").tolist() == exact.column("step")[ends - 1].tolist()
    assert np.array_equal(table.column("time"), at_ends(exact, "time", ends), equal_nan=True)
    for name in ("loss", "late", "same"):
        assert_column(table, exact.column(name), name, ends - weights, ends)
        assert_known(table, exact, name)


def at_ends(exact: Exact, name: str, ends: Locations) -> Column:
    values = exact.column(name)
    return np.empty(0) if all(is_lacking(values)) else values[ends - 1]


def assert_column(
    table: MetricTable, rows: Column, name: str, begins: Locations, ends: Locations
) -> None:
    if all(is_lacking(rows)):
        assert name not in table.columns
        return
    means = table.column(name)
    assert not means.flags.writeable
    lows, highs = table.extremes[name] if table.thinning > 1 else (means, means)
    for entry, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        values = rows[begin:end]
        finite = values[np.isfinite(values)]
        if not len(finite):
            assert math.isnan(means[entry]) and math.isnan(lows[entry])
            assert is_lacking(means)[entry] == all(is_lacking(values))
            continue
        assert (lows[entry], highs[entry]) == (finite.min(), finite.max())
        mean = float((finite / len(finite)).sum())
        scale = float(np.abs(finite).max())
        assert means[entry] == pytest.approx(mean, rel=1e-9, abs=scale * 1e-12)


def assert_known(table: MetricTable, exact: Exact, name: str) -> None:
    values, steps = exact.column(name), exact.column("step")
    kept = np.isfinite(values)
    values, steps = values[kept], steps[kept]
    assert table.count(name) == len(values)
    if not len(values):
        assert table.last(name) is None and table.best(name) is None
        return
    assert table.last(name) == values[-1]
    least, most = int(values.argmin()), int(values.argmax())
    assert table.best(name) == (values[least], steps[least])
    assert table.best(name, highest=True) == (values[most], steps[most])


@st.composite
def stretches(draw: st.DrawFn, backwards: int) -> list[list[Row]]:
    """Rows in chunks of any size; `late` comes late, `same` is mostly one value."""
    found, step = [], 0
    for size in draw(st.lists(st.integers(1, 40), min_size=1, max_size=9)):
        rows = []
        for _ in range(size):
            step += draw(st.sampled_from([1, 1, 1, 1, 1, 2, 0]))
            row: Row = {"step": float(step), "loss": draw(VALUES), "same": 8.0}
            if step % 3:
                row["time"] = 1e9 + step
            if step > 25 and step % 4:
                row["late"] = draw(VALUES)
            if draw(st.integers(0, 60)) == 0:
                row["same"] = math.nan
            rows.append(row)
        found.append(rows)
        if backwards and draw(st.integers(0, 4)) == 0:
            step = max(0, step - draw(st.integers(0, backwards)))
    return found


@settings(max_examples=25, deadline=None)
@given(stretches(backwards=0), st.lists(st.booleans(), min_size=9, max_size=9))
def test_entries_are_true_to_their_rows(chunks: list[list[Row]], looks: list[bool]) -> None:
    table, exact = GrowingTable(MOST), Exact()
    for chunk, look in zip(chunks, looks, strict=False):
        table.extend(columns_of(chunk))
        for row in chunk:
            exact.add(row)
        if look:
            assert_true_to(table.table(), exact)
    assert_true_to(table.table(), exact)


@settings(max_examples=25, deadline=None)
@given(stretches(backwards=30))
def test_an_exact_table_goes_back_to_any_step(chunks: list[list[Row]]) -> None:
    table, exact = GrowingTable(1024), Exact()
    for chunk in chunks:
        table.extend(columns_of(chunk))
        for row in chunk:
            exact.add(row)
        shown = table.table()
        assert shown.column("step").tolist() == exact.column("step").tolist()
        for name in ("loss", "late", "same"):
            assert_known(shown, exact, name)


@settings(max_examples=20, deadline=None)
@given(stretches(backwards=30))
def test_a_thinned_table_that_goes_back_shows_no_superseded_row(chunks: list[list[Row]]) -> None:
    table, exact = GrowingTable(MOST), Exact()
    for chunk in chunks:
        table.extend(columns_of(chunk))
        for row in chunk:
            exact.add(row)
    shown = table.table()
    losses, steps = exact.column("loss"), exact.column("step")
    assert set(shown.column("step").tolist()) <= set(steps.tolist())
    assert (np.diff(shown.column("step")) > 0).all()
    assert shown.rows <= len(exact.rows)
    finite = losses[np.isfinite(losses)]
    best, last = shown.best("loss"), shown.last("loss")
    assert shown.count("loss") <= len(finite)
    if best is not None:
        assert best[0] in finite
        assert best[1] in steps
    if last is not None and math.isfinite(losses[-1]):
        assert last == losses[-1]


@settings(max_examples=20, deadline=None)
@given(stretches(backwards=10))
def test_snapshots_stay_as_they_were(chunks: list[list[Row]]) -> None:
    table, kept = GrowingTable(MOST), []
    for chunk in chunks:
        table.extend(columns_of(chunk))
        shown = table.table()
        arrays = [
            *shown.columns.values(),
            *(one for pair in shown.extremes.values() for one in pair),
        ]
        if shown.weights is not None:
            arrays.append(shown.weights.astype(float))
        kept.append((arrays, [array.copy() for array in arrays]))
    for arrays, copies in kept:
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_exact_up_to_the_bound_and_thinned_beyond() -> None:
    table = GrowingTable()
    steps = np.arange(MOST_ENTRIES, dtype=float)
    table.extend({"step": steps, "loss": np.sin(steps)})
    shown = table.table()
    assert (shown.thinning, len(shown), shown.envelope("loss")) == (1, MOST_ENTRIES, None)
    table.extend({"step": np.array([float(MOST_ENTRIES)]), "loss": np.array([99.0])})
    shown = table.table()
    assert (shown.thinning, len(shown), shown.rows) == (2, MOST_ENTRIES // 2 + 2, MOST_ENTRIES + 1)
    assert shown.last("loss") == 99.0


def test_a_spike_of_one_step_stays_visible() -> None:
    table = GrowingTable()
    losses = np.ones(1_000_000)
    losses[437_211] = 77.0
    for begin in range(0, len(losses), 5000):
        part = losses[begin : begin + 5000]
        table.extend({"step": np.arange(begin, begin + len(part), dtype=float), "loss": part})
    shown = table.table()
    envelope = shown.envelope("loss")
    assert envelope is not None
    x, low, high = envelope
    assert high.max() == 77.0 and low.min() == 1.0
    assert abs(x[int(high.argmax())] - 437_211) < shown.thinning
    assert shown.best("loss", highest=True) == (77.0, 437_211.0)
    assert shown.count("loss") == 1_000_000


def test_an_entry_that_lacks_the_column_is_in_no_series() -> None:
    table = GrowingTable(8)
    steps = np.arange(64.0)
    late = np.where(steps < 32, MISSING, steps)
    table.extend({"step": steps, "loss": steps, "late": late})
    shown = table.table()
    envelope = shown.envelope("late")
    assert envelope is not None
    x, low, _ = envelope
    assert x.min() >= 32 and np.isfinite(low).all()
    assert shown.series("late")[0].tolist() == x.tolist()
    assert shown.envelope("nothing") is not None
    assert shown.names() == ("loss", "late")


def test_two_lines_a_step_are_one_row_at_any_thinning() -> None:
    decoder, history = MetricDecoder(), History()
    history.train = GrowingTable(8)
    for step in range(100):
        for line in ('{"step":%d,"loss":1.5}\n', '{"step":%d,"lr":0.5}\n'):
            for rows in decoder.feed((line % step).encode()):
                history.append(rows)
            history.train.table()
    shown = history.train.table()
    assert shown.rows == shown.count("loss") == shown.count("learning_rate") == 100


def test_constant_columns_take_no_memory() -> None:
    table = GrowingTable()
    steps = np.arange(10_000.0)
    table.extend({"step": steps, "examples": np.full(10_000, 8.0), "null": np.full(10_000, np.nan)})
    shown = table.table()
    for name in ("examples", "null"):
        assert shown.column(name).strides == (0,)
        assert len(shown.column(name)) == 10_000
    assert shown.best("examples") == (8.0, 0.0)
    table.extend({"step": np.array([1e4]), "examples": np.array([4.0]), "null": np.array([1.0])})
    assert table.table().column("examples")[-3:].tolist() == [8, 8, 4]
    assert table.table().count("null") == 1


@pytest.mark.parametrize("again", [math.nan, 5.0])
def test_the_newest_row_of_a_long_run_is_replaced_exactly(again: float) -> None:
    """Its best and its last value are those of the rows, not of the entries of several rows."""
    table, exact = GrowingTable(MOST), Exact()
    rows = [{"step": float(step), "loss": 10.0 + step % 7} for step in range(1, 48)]
    rows[6]["loss"], rows[-2]["loss"], rows[-1]["loss"] = -2.0, 4.0, -3.0
    for chunk in (rows, [{"step": 47.0, "loss": again}]):
        table.extend(columns_of(chunk))
        for row in chunk:
            exact.add(row)
        assert table.table().thinning > 1
        assert_known(table.table(), exact, "loss")
