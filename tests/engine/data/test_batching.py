"""Which examples a step takes."""

from __future__ import annotations

from collections import Counter

from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.engine.data.batching import BatchPlan
from tui_trainer.engine.data.example import Example


def example(token: int, group: str = "", *, retained: bool = False) -> Example:
    return Example([1, token], [0, 1], 1.0, group=group, retained=retained)


def plan(examples: list[Example], size: int, retain: int = 0) -> BatchPlan:
    settings = TrainingSettings(batch_size=size, max_steps=50)
    kept = [example(900 + number, retained=True) for number in range(24)]
    return BatchPlan(examples, settings, retain=kept if retain else [], retain_per_step=retain)


def test_a_step_takes_an_example_of_each_group() -> None:
    examples = [example(10 * g + n, f"g{g}") for g in range(5) for n in range(6)]
    made = plan(examples, 5)
    seen: Counter[int] = Counter()
    for step in range(12):
        chosen = made.examples(step)
        assert sorted(e.group for e in chosen) == [f"g{g}" for g in range(5)]
        seen.update(e.input_ids[1] for e in chosen)
    assert set(seen.values()) == {2}, "after twelve steps each of six wordings was there twice"
    assert made.examples(3) == plan(examples, 5).examples(3), "known from the step alone"


def test_groups_take_turns_where_a_step_has_no_place_for_all() -> None:
    examples = [example(g, f"g{g}") for g in range(7)]
    made = plan(examples, 3)
    found = Counter(e.group for step in range(7) for e in made.examples(step))
    assert set(found.values()) == {3}


def test_a_step_takes_several_examples_of_few_groups() -> None:
    examples = [example(10 * g + n, f"g{g}") for g in range(2) for n in range(6)]
    chosen = plan(examples, 6).examples(0)
    assert Counter(e.group for e in chosen) == {"g0": 3, "g1": 3}
    assert len({e.input_ids[1] for e in chosen}) == 6


def test_without_groups_an_epoch_takes_every_example_once() -> None:
    examples = [example(n) for n in range(6)]
    made = plan(examples, 4)
    found = [e.input_ids[1] for step in range(2) for e in made.examples(step)]
    assert sorted(found) == list(range(6))


def test_retained_examples_have_passes_of_their_own_and_some_are_only_measured() -> None:
    made = plan([example(n) for n in range(4)], 4, retain=3)
    taught, retained = made.passes(0)
    assert [e.retained for e in taught] == [False] * 4
    assert [e.retained for e in retained] == [True] * 3
    measured = {e.input_ids[1] for e in made.measured}
    assert measured == {908, 916}
    drawn = {e.input_ids[1] for step in range(50) for e in made.passes(step)[1]}
    assert not drawn & measured
