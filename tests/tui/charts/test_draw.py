"""Whole charts: exact sizes for any numbers, and what a person must be able to see."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from tests.tui.charts.drawing import PALETTE, drawn, has_dots, line
from tui_trainer.tui.charts.draw import draw_chart, frame_of
from tui_trainer.tui.charts.model import (
    Array,
    ChartLine,
    ChartSpec,
    Format,
    HighlightWindow,
    MarkKind,
    Marks,
    Role,
    mark,
)
from tui_trainer.tui.charts.smoothing import smooth

any_floats = st.lists(st.floats(), max_size=40)
roles: tuple[Role, ...] = ("raw", "smooth", "validation", "series")
formats: tuple[Format, ...] = ("number", "duration", "clock")
kinds: tuple[MarkKind, ...] = ("checkpoint", "evaluation", "learning_rate", "resumed", "advice")


@st.composite
def specs(draw: st.DrawFn) -> ChartSpec:
    lines = []
    for role in draw(st.lists(st.sampled_from(roles), max_size=4)):
        y = np.array(draw(any_floats), dtype=np.float64)
        ascending = draw(st.booleans())
        x = np.arange(len(y), dtype=np.float64) if ascending else y[::-1].copy()
        lines.append(ChartLine(x, y, role, draw(st.text(max_size=8)), draw(st.integers(0, 9))))
    marks = [mark(draw(st.sampled_from(kinds)), x) for x in draw(st.lists(st.floats(), max_size=5))]
    ranges = st.one_of(st.none(), st.tuples(st.floats(), st.floats()))
    return ChartSpec(
        draw(st.text(max_size=30)),
        tuple(lines),
        tuple(marks),
        detail=draw(st.text(max_size=20)),
        x_label=draw(st.text(max_size=8)),
        x_format=draw(st.sampled_from(formats)),
        y_format=draw(st.sampled_from(formats)),
        log_y=draw(st.booleans()),
        log_x=draw(st.booleans()),
        robust=draw(st.booleans()),
        x_range=draw(ranges),
        y_range=draw(ranges),
        cursor_x=draw(st.one_of(st.none(), st.floats())),
        dimmed=draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@given(specs(), st.integers(1, 90), st.integers(1, 25), st.sampled_from(["braille", "ascii"]))
def test_any_numbers_and_any_size_give_an_exact_picture(
    spec: ChartSpec, width: int, height: int, marks: str
) -> None:
    rows = drawn(spec, width, height, "ascii" if marks == "ascii" else "braille")
    assert not any(ord(c) < 32 for row in rows for c in row)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, -1)])
def test_no_room_is_no_error(size: tuple[int, int]) -> None:
    strips = draw_chart(ChartSpec("loss", (line([1, 2]),)), *size, PALETTE)
    assert len(strips) == max(0, size[1])


@pytest.mark.parametrize("width", range(1, 30))
@pytest.mark.parametrize("height", range(1, 9))
def test_every_small_size(width: int, height: int) -> None:
    spec = ChartSpec("loss 1.2", (line([3, 2, 1], "raw", "raw"), line([3, 2, 1], "smooth")))
    drawn(spec, width, height)
    drawn(spec, width, height, "ascii")


def test_without_data_a_hint_is_shown_in_the_middle() -> None:
    rows = drawn(ChartSpec("loss", (), empty="no steps yet"), 30, 9)
    assert rows[0].strip() == "loss"
    assert "no steps yet" in rows[4]
    assert not any(has_dots(row) for row in rows)


def test_only_missing_values_are_no_data() -> None:
    rows = drawn(ChartSpec("loss", (line([math.nan, math.inf]),)), 30, 9)
    assert any("no data yet" in row for row in rows)


@pytest.mark.parametrize("marks", ["braille", "ascii"])
@pytest.mark.parametrize("at", [0, 1234, 99_999])
def test_a_spike_of_one_sample_is_marked_at_the_edge(marks: Marks, at: int) -> None:
    values = 2 + np.sin(np.arange(100_000) / 9000)
    values[at] = 1e6
    rows = drawn(ChartSpec("loss", (line(values),)), 80, 12, marks)
    glyph = "▲" if marks == "braille" else "^"
    assert rows[1].count(glyph) == 1
    assert not any(glyph in row for row in rows[2:])


def test_a_spike_downwards_points_down() -> None:
    values = 2 + np.sin(np.arange(10_000) / 900)
    values[5000] = -1e6
    rows = drawn(ChartSpec("loss", (line(values),)), 80, 12)
    assert rows[-3].count("▼") == 1


def test_without_robust_limits_the_spike_sets_the_scale() -> None:
    values = np.full(10_000, 2.0)
    values[5000] = 100.0
    rows = drawn(ChartSpec("loss", (line(values),), robust=False), 80, 12)
    assert not any("▲" in row for row in rows)
    assert any("100" in row for row in rows)


def test_a_fall_is_drawn_from_the_top_left_to_the_bottom_right() -> None:
    rows = drawn(ChartSpec("loss", (line(np.linspace(3, 1, 500)),)), 60, 14)
    plot = [row.split("┤")[-1].split("│")[-1] for row in rows[1:-2]]
    first = [min((i for i, c in enumerate(row) if c != " "), default=-1) for row in plot]
    assert all(a < b for a, b in itertools.pairwise(first))


def test_missing_values_leave_a_gap_in_the_line() -> None:
    values = np.full(400, 2.0)
    values[::2] = 2.1
    values[150:250] = np.nan
    rows = drawn(ChartSpec("loss", (line(values),), x_range=(0, 399)), 60, 12)
    left = frame_of(ChartSpec("loss", (line(values),)), 60, 12).left
    columns = [any(row[c] != " " for row in rows[1:-2]) for c in range(left, 60)]
    drawn_share = sum(columns) / len(columns)
    assert 0.7 < drawn_share < 0.8
    assert columns[0] and columns[-1] and not columns[len(columns) // 2]


def test_few_points_are_joined_by_lines() -> None:
    rows = drawn(ChartSpec("loss", (line([1.0, 2.0, 1.0]),)), 60, 12)
    left = frame_of(ChartSpec("loss", (line([1.0, 2.0, 1.0]),)), 60, 12).left
    assert all(any(row[c] != " " for row in rows[1:-2]) for c in range(left, 60))


def test_a_single_point_is_visible() -> None:
    assert any(has_dots(row) for row in drawn(ChartSpec("loss", (line([2.0]),)), 40, 10))


def test_the_smooth_line_covers_the_raw_one_cell_by_cell() -> None:
    raw = np.random.default_rng(0).normal(2, 0.3, 5000)
    spec = ChartSpec("loss", (line(raw, "raw"), line(smooth(raw, 0.98), "smooth")))
    strips = draw_chart(spec, 80, 16, PALETTE)
    colours = {
        segment.style.color.name
        for strip in strips[1:-2]
        for segment in strip
        if segment.style is not None and segment.style.color is not None and has_dots(segment.text)
    }
    assert colours == {"blue", "cyan"}
    frame = frame_of(spec, 80, 16)
    cyan: set[int] = set()
    for strip in strips[1:-2]:
        column = 0
        for segment in strip:
            if segment.style == PALETTE.smooth and segment.text.strip():
                cyan.update(range(column, column + len(segment.text)))
            column += len(segment.text)
    assert cyan == set(range(frame.left, 80))


def test_the_first_series_lies_on_top() -> None:
    same = [1.0, 2.0, 3.0]
    spec = ChartSpec("loss", (ChartLine(*_xy(same), colour=0), ChartLine(*_xy(same), colour=1)))
    text = "".join(
        segment.text
        for strip in draw_chart(spec, 40, 10, PALETTE)[1:-2]
        for segment in strip
        if segment.style is not None and segment.style.color == Style(color="magenta").color
    )
    assert not has_dots(text)


def _xy(values: list[float]) -> tuple[Array, Array]:
    return np.arange(len(values), dtype=np.float64), np.array(values)


def test_validation_points_and_event_marks_are_at_their_positions() -> None:
    x = np.arange(1001, dtype=np.float64)
    at = np.array([0.0, 500.0, 1000.0])
    lines = (
        ChartLine(x, 1 + x / 1000, "smooth"),
        ChartLine(at, 1 + at / 1000, "validation", "val"),
    )
    marks = (mark("checkpoint", 500.0), mark("learning_rate", 250.0), mark("advice", 250.0))
    spec = ChartSpec("loss", lines, marks)
    rows = drawn(spec, 81, 14)
    frame = frame_of(spec, 81, 14)
    points = [i - frame.left for row in rows[1:-2] for i, c in enumerate(row) if c == "◆"]
    assert sorted(points) == [0, (frame.columns - 1) // 2, frame.columns - 1]
    axis = rows[-2]
    assert axis[frame.left + round((frame.columns - 1) / 2)] == "c"
    assert axis[frame.left + round((frame.columns - 1) / 4)] == "!"
    assert "l" not in axis


def test_many_checkpoints_are_thinned_and_the_newest_stays() -> None:
    marks = tuple(mark("checkpoint", float(x)) for x in range(0, 10_001, 10))
    spec = ChartSpec("loss", (line(np.ones(10_001)),), marks)
    axis = drawn(spec, 80, 12)[-2]
    assert axis.endswith("c")
    assert "cc" not in axis
    assert axis.count("c") > 10


def test_the_cursor_is_an_upright_line_behind_the_data() -> None:
    spec = ChartSpec("loss", (line(np.linspace(1, 2, 100)),), cursor_x=50.0)
    rows = drawn(spec, 60, 12)
    column = frame_of(spec, 60, 12).column_of(50.0)
    assert column is not None
    cell = frame_of(spec, 60, 12).left + column
    marks = [row[cell] for row in rows[1:-2]]
    assert marks.count("│") >= 7
    assert any(has_dots(mark) for mark in marks)


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(20, 200))
def test_a_column_and_its_value_belong_together(low: float, span: float, width: int) -> None:
    x = np.array([low, low + span])
    frame = frame_of(ChartSpec("", (ChartLine(x, np.array([1.0, 2.0])),)), width, 12)
    for column in (0, frame.columns // 2, frame.columns - 1):
        value = frame.x.value(column / (frame.columns - 1))
        assert frame.column_of(value) == column


def test_a_value_outside_the_chart_has_no_column() -> None:
    frame = frame_of(ChartSpec("", (line([1, 2]),), x_range=(0, 10)), 60, 12)
    assert frame.column_of(11.0) is None
    assert frame.column_of(math.nan) is None
    assert frame.column_of(10.0) == frame.columns - 1


def test_a_range_shows_only_its_part() -> None:
    values = np.concatenate((np.full(500, 9.0), np.full(500, 1.0)))
    rows = drawn(ChartSpec("loss", (line(values),), x_range=(600, 900)), 60, 12)
    labels = [float(row.split("┤")[0]) for row in rows[1:-2] if "┤" in row]
    assert labels and max(labels) < 2


def test_a_logarithmic_axis_shows_decades() -> None:
    values = 10.0 ** np.linspace(1, -4, 300)
    rows = drawn(ChartSpec("loss", (line(values),), log_y=True), 60, 20)
    labels = [row.split("┤")[0].strip() for row in rows if "┤" in row]
    assert labels == ["10", "1", "0.1", "0.01", "0.001", "1e-4"]


def test_values_without_a_logarithm_are_gaps() -> None:
    rows = drawn(ChartSpec("loss", (line([10.0, 0.0, -5.0, 10.0]),), log_y=True), 60, 12)
    assert sum(row.count("⠁") + row.count("⠈") + sum(map(has_dots, row)) for row in rows) < 12


def test_a_title_of_wide_characters_is_cut_to_the_cell() -> None:
    rows = drawn(ChartSpec("損失関数の値 " * 5, (line([1, 2]),)), 21, 8)
    assert cell_len(rows[0]) == 21


def test_control_characters_of_a_name_do_not_reach_the_terminal() -> None:
    spec = ChartSpec("a\x1b[31m\nb", (line([1, 2], "series", "x\x07\u202ey"),), detail="\t")
    title = drawn(spec, 60, 8)[0]
    assert title.startswith("a·[31m·b")
    assert "x··y ━" in title


def test_the_legend_is_dropped_before_the_title() -> None:
    spec = ChartSpec("loss 1.284", (line([1, 2], "raw", "raw"), line([1, 2], "smooth", "smooth")))
    assert drawn(spec, 40, 8)[0].endswith("raw ┄  smooth ━")
    assert drawn(spec, 20, 8)[0].rstrip() == "loss 1.284  smooth ━"
    assert drawn(spec, 19, 8)[0].rstrip() == "loss 1.284"


@pytest.mark.parametrize("width", range(12, 44))
def test_a_number_in_the_title_is_never_cut(width: int) -> None:
    title, detail = "loss 1.284", "best 1.251 @ 1,380   val 1.300"
    spec = ChartSpec(title, (line([1, 2], "smooth"),), detail=detail)
    shown = drawn(spec, width, 8)[0].rstrip().removesuffix("…").split()
    assert set(shown) <= {*title.split(), *detail.split()}


def test_the_detail_is_shortened_before_the_legend() -> None:
    lines = (line([1, 2], "raw", "raw"), line([1, 2], "smooth", "smoothed 0.9"))
    spec = ChartSpec("loss 1.284", lines, detail="best 1.251 @ 1,380   val 1.300")
    whole, fewer = drawn(spec, 80, 8)[0], drawn(spec, 60, 8)[0]
    assert "val 1.300  " in whole and whole.endswith("raw ┄  smoothed 0.9 ━")
    assert "val 1.300  " in fewer and fewer.endswith("  smoothed 0.9 ━") and "raw" not in fewer
    cut = drawn(spec, 50, 8)[0]
    assert cut.startswith("loss 1.284  best 1.251 @ 1,380…  ")
    assert cut.endswith("  smoothed 0.9 ━")
    assert len(cut) == 50


def test_a_pause_dims_everything() -> None:
    spec = ChartSpec("loss", (line([1, 2], "smooth", "smooth"),), dimmed=True)
    for strip in draw_chart(spec, 60, 12, PALETTE):
        for segment in strip:
            if segment.text.strip():
                assert segment.style is not None and segment.style.dim


def test_a_band_is_two_dashed_lines_that_extend_beyond_its_window() -> None:
    window = HighlightWindow(40.0, 50.0, (20.0, 80.0), until=99.0)
    spec = ChartSpec("loss", (line([*range(100)]),), windows=(window,))
    dashed = [row for row in drawn(spec, 60, 16) if "╌" in row]
    assert len(dashed) == 2
    assert {len(row.rstrip()) for row in dashed} == {60}
    early = replace(spec, windows=(replace(window, until=None),))
    short = [row[: row.rindex("╌") + 1] for row in drawn(early, 60, 16) if "╌" in row]
    assert all(len(row) < 40 for row in short)
