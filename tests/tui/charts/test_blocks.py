"""Sparklines and bars."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.tui.charts.blocks import bar, sparkline


def test_a_rising_sparkline_rises() -> None:
    assert sparkline(np.arange(8.0), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.arange(8.0), 8, "ascii") == "_.-=+*#@"


def test_a_sparkline_is_right_aligned_and_has_gaps() -> None:
    assert sparkline(np.array([0.0, math.nan, 1.0]), 5) == "  ▁ █"


def test_fixed_limits_scale_a_sparkline() -> None:
    assert sparkline(np.array([50.0, 50.0]), 2, limits=(0.0, 100.0)) == "▅▅"


def test_many_values_are_averaged() -> None:
    assert sparkline(np.repeat([0.0, 10.0], 50), 2) == "▁█"


@settings(deadline=None)
@given(
    st.lists(st.floats(), max_size=80), st.integers(0, 40), st.sampled_from(["braille", "ascii"])
)
def test_a_sparkline_is_as_wide_as_asked(data: list[float], width: int, marks: str) -> None:
    drawn = sparkline(
        np.array(data, dtype=np.float64), width, "ascii" if marks == "ascii" else "braille"
    )
    assert len(drawn) == width


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.0, "    "), (1.0, "████"), (0.5, "██  "), (0.53125, "██▏ "), (2.0, "████"), (-1, "    ")],
)
def test_a_bar(fraction: float, expected: str) -> None:
    assert bar(fraction, 4) == expected


@pytest.mark.parametrize("fraction", [None, math.nan])
def test_an_unknown_level_is_an_empty_bar(fraction: float | None) -> None:
    assert bar(fraction, 3) == "   "


def test_a_bar_in_ascii() -> None:
    assert bar(0.5, 6, "ascii") == "###..."


@settings(deadline=None)
@given(st.floats(), st.integers(0, 50))
def test_a_bar_is_as_wide_as_asked(fraction: float, width: int) -> None:
    assert len(bar(fraction, width)) == width
    assert len(bar(fraction, width, "ascii")) == width
