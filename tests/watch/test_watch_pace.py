"""How a stream of changes is paced."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tui_trainer.watch.pace import Pace


def told_at(gap: float, count: int, pace: Pace) -> list[float]:
    """When changes that come every `gap` seconds are told."""
    times: list[float] = []
    for index in range(count):
        came = 100.0 + index * gap
        if times and came < times[-1]:
            continue  # told along with an earlier one
        times.append(max(came, pace.next()))
        pace.told(times[-1])
    return times


@pytest.mark.parametrize("gap", [0.1, 0.143, 1.0])
def test_slow_changes_are_told_at_once(gap: float) -> None:
    times = told_at(gap, 50, Pace())
    assert times == [100.0 + index * gap for index in range(50)]


@pytest.mark.parametrize("gap", [0.005, 0.01, 0.02])
def test_a_stream_is_held_to_its_pace_after_a_short_burst(gap: float) -> None:
    times = told_at(gap, int(10 / gap), Pace(11))
    assert 100 <= len(times) <= 135
    assert max(b - a for a, b in pairwise(times)) < 0.1


def test_a_quiet_second_gives_the_burst_back() -> None:
    pace = Pace(11)
    last = told_at(0.01, 200, pace)[-1]
    assert pace.next() > last
    for _ in range(11):
        last += 0.5
        pace.told(last)
    assert pace.next() == 0.0
