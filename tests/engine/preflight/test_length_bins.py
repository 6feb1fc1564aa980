"""Bins of a histogram of lengths."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.engine.preflight.length_bins import MOST_BINS, length_bins


@given(
    st.lists(st.integers(1, 5000) | st.integers(1, 10**6), min_size=1, max_size=80),
    st.integers(8, 5000),
)
def test_bins_hold_every_example_once(lengths: list[int], limit: int) -> None:
    bins = length_bins(np.array(lengths), limit)
    assert sum(one.examples for one in bins) == len(lengths)
    assert 1 <= len(bins) <= MOST_BINS
    assert bins[0].first <= min(lengths) and bins[-1].last >= max(lengths)
    assert all(b.first == a.last + 1 for a, b in itertools.pairwise(bins))
    for one in bins:
        assert one.examples == sum(one.first <= length <= one.last for length in lengths)


def test_the_limit_ends_a_bin_where_rows_are_longer() -> None:
    bins = length_bins(np.arange(1, 1200), 512)
    assert any(one.last == 512 for one in bins)


def test_few_far_longer_rows_do_not_hide_the_others() -> None:
    lengths = np.array([*range(20, 60)] * 10 + [9000])
    bins = length_bins(lengths, 16_384)
    assert len(bins) > 8 and bins[-1].last == 9000 and bins[-1].examples == 1


def test_no_lengths_no_bins() -> None:
    assert length_bins(np.array([], dtype=np.int64), 512) == []
