"""How a stream of changes is paced."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tui_trainer.watch.throttle import PER_SECOND, Throttle


def reported_at(gap: float, count: int, pace: Throttle) -> list[float]:
    """When changes that come every `gap` seconds are told."""
    times: list[float] = []
    waiting = 0
    for index in range(count):
        came = 100.0 + index * gap
        waiting += 1
        if times and came < times[-1]:
            continue  # told along with an earlier one
        times.append(max(came, pace.next(came)))
        pace.record(times[-1], waiting)
        waiting = 0
    return times


@pytest.mark.parametrize("gap", [0.1, 0.143, 1.0])
def test_slow_changes_are_reported_at_once(gap: float) -> None:
    times = reported_at(gap, 50, Throttle())
    assert times == [100.0 + index * gap for index in range(50)]


@pytest.mark.parametrize("gap", [0.005, 0.01, 0.02, 0.05])
def test_a_stream_is_held_to_its_pace_after_a_short_burst(gap: float) -> None:
    times = reported_at(gap, int(10 / gap), Throttle())
    assert 9 * PER_SECOND <= len(times) <= 10 * PER_SECOND + 12
    assert max(b - a for a, b in pairwise(times)) < 1 / PER_SECOND + 2 * gap


def test_a_quiet_second_ends_the_stream() -> None:
    pace = Throttle()
    last = reported_at(0.01, 200, pace)[-1]
    assert pace.is_stream(last)
    assert pace.next(last) > last
    assert not pace.is_stream(last + 1.0)
    assert pace.next(last + 1.0) == 0.0


def test_many_changes_reported_at_once_are_a_stream() -> None:
    pace = Throttle()
    pace.record(100.0, 50)
    assert pace.is_stream(100.1)
    pace.record(101.5)
    assert not pace.is_stream(101.6)
