"""Charts as a person sees them: recorded pictures, spans, letters at the ends of lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.tui.charts.drawing import PALETTE, drawn, has_dots, line
from tui_trainer.tui.charts.canvas import RowCache
from tui_trainer.tui.charts.draw import draw_chart, frame_of
from tui_trainer.tui.charts.model import ChartLine, ChartSpec, mark
from tui_trainer.tui.charts.smoothing import smooth


def curve() -> ChartSpec:
    x = np.arange(1.0, 2401)
    wave = 0.1 * np.sin(x * 1.7) * np.cos(x * 0.13)
    loss = 1 + 2 * np.exp(-x / 480) + wave
    at = np.arange(400.0, 2401, 400)
    return ChartSpec(
        "loss 1.284",
        (
            ChartLine(x, loss, "raw", "raw"),
            ChartLine(x, smooth(loss, 0.9), "smooth", "smooth"),
            ChartLine(at, 1.05 + 2 * np.exp(-at / 480), "validation", "val"),
        ),
        tuple(mark("checkpoint", float(a)) for a in at),
        detail="best 1.251 @ 1,380",
    )


def rate() -> ChartSpec:
    x = np.arange(0.0, 2000)
    falling = 0.5 * (1 + np.cos((x - 200) / 1800 * np.pi))
    y = np.where(x < 200, x / 200, falling) * 2e-4
    return ChartSpec("learning rate 1.6e-4", (ChartLine(x, y),), robust=False)


def assert_looks(name: str, rows: list[str]) -> None:
    expected = (Path(__file__).parent / "pictures" / f"{name}.txt").read_text(encoding="utf-8")
    assert "\n".join(row.rstrip() for row in rows) + "\n" == expected


def test_the_picture_of_a_training() -> None:
    assert_looks("training", drawn(curve(), 64, 13))


def test_the_same_picture_in_plain_characters() -> None:
    assert_looks("training_ascii", drawn(curve(), 64, 13, "ascii"))


def test_the_picture_of_a_learning_rate() -> None:
    assert_looks("learning_rate", drawn(rate(), 50, 8))


def spike_in_a_million() -> ChartSpec:
    x = np.arange(8.0, 8.0 * 131_072 + 8, 8.0)
    low = np.full(len(x), 1.0) + np.linspace(0, 1, len(x))
    high = low + 0.1
    high[100_000] = 42.0
    return ChartSpec("loss", (ChartLine(x, low, "raw", top=high), ChartLine(x, low, "smooth")))


def test_a_spike_in_a_million_rows_is_marked_at_the_edge_and_flattens_nothing() -> None:
    rows = drawn(spike_in_a_million(), 120, 20)
    frame = frame_of(spike_in_a_million(), 120, 20)
    column = frame.column_of(8.0 * 100_001)
    assert column is not None
    assert rows[frame.top][frame.left + column] == "▲"
    assert frame.y.high < 3  # the descent keeps its height


def test_a_span_is_drawn_from_its_least_to_its_greatest() -> None:
    x = np.arange(80.0)
    spec = ChartSpec("s", (ChartLine(x, np.zeros(80), "raw", top=np.ones(80)),), y_range=(0.0, 1.0))
    rows = drawn(spec, 30, 12)
    assert all("⣿" * 20 in row for row in rows[1:-2])
    below = ChartSpec(
        "s", (ChartLine(x, np.full(80, -1.0), "raw", top=np.full(80, 5.0)),), log_y=True
    )
    assert any(has_dots(row) for row in drawn(below, 30, 12))  # what is above 0 stays


def test_letters_are_at_the_ends_of_their_lines_without_overlap() -> None:
    ends = np.array([5.0, 5.0, 1.0])
    lines = tuple(
        ChartLine(np.arange(3.0), np.array([0.0, 2.0, end]), tag=letter, colour=index)
        for index, (letter, end) in enumerate(zip("ABC", ends, strict=True))
    )
    rows = drawn(ChartSpec("s", lines), 40, 12)
    assert rows[1].endswith("BA")  # the first has the end itself
    assert sum(row.count("C") for row in rows[1:]) == 1
    plain = drawn(ChartSpec("s", lines), 40, 12, "ascii")
    assert all(text.isascii() for text in plain) and plain[1].endswith("BA")


def test_a_strong_line_is_bold() -> None:
    thick = ChartLine(np.arange(5.0), np.arange(5.0), strong=True)
    strips = draw_chart(ChartSpec("s", (thick,)), 30, 10, PALETTE)
    styles = [segment.style for strip in strips[1:8] for segment in strip if has_dots(segment.text)]
    assert styles and all(style is not None and style.bold for style in styles)


def test_a_log_axis_without_values_shows_the_reason() -> None:
    rows = drawn(ChartSpec("s", (line([0.0, -1.0, -5.0]),), log_y=True), 60, 10)
    assert any("no value above 0" in row for row in rows)
    logged = drawn(ChartSpec("s", (line([1.0, 2.0, 5.0]),), log_x=True), 60, 10)
    assert logged[-1].rstrip().endswith("log")


def test_rows_that_did_not_change_are_the_same_objects() -> None:
    before = RowCache()
    first = draw_chart(spike_in_a_million(), 80, 16, PALETTE, "braille", before)
    second = draw_chart(spike_in_a_million(), 80, 16, PALETTE, "braille", before)
    assert all(one is other for one, other in zip(first[1:], second[1:], strict=True))
    moved = ChartSpec("loss", (line([1.0, 2.0]),))
    third = draw_chart(moved, 80, 16, PALETTE, "braille", before)
    plain = draw_chart(moved, 80, 16, PALETTE)
    assert [strip.text for strip in third] == [strip.text for strip in plain]
