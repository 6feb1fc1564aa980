"""Colours and letters of runs laid over each other."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.tui.run_charts.run_colours import MOST, RunColours

paths = st.lists(
    st.integers(0, 14).map(lambda n: Path(f"/runs/{n}")), min_size=1, max_size=MOST, unique=True
)


@given(st.lists(paths, min_size=1, max_size=12))
def test_no_two_runs_share_a_colour_and_none_changes_it_while_it_is_shown(
    looks: list[list[Path]],
) -> None:
    slots = RunColours()
    before: dict[Path, int] = {}
    for shown in looks:
        now = slots.of(shown)
        assert set(now) == set(shown)
        assert len(set(now.values())) == len(shown) and max(now.values()) < MOST
        assert all(now[path] == slot for path, slot in before.items() if path in now)
        before = now


@given(paths)
def test_the_order_and_the_pinned_run_do_not_matter_later(shown: list[Path]) -> None:
    slots = RunColours()
    first = slots.of(shown)
    assert list(first.values()) == list(range(len(shown)))  # first come
    assert slots.of(shown[::-1]) == first


def test_a_run_that_comes_back_has_its_old_colour() -> None:
    a, b, c = (Path(f"/runs/{name}") for name in "abc")
    slots = RunColours()
    assert slots.of([a, b]) == {a: 0, b: 1}
    assert slots.of([a, c]) == {a: 0, c: 2}
    assert slots.of([b, c, a]) == {b: 1, c: 2, a: 0}
