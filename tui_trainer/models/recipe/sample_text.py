"""The training mixture: an endless stream of conversations, fixed by its seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache

from tui_trainer.models.recipe import tasks
from tui_trainer.models.recipe.fact_world import Fact, facts
from tui_trainer.models.recipe.string_tasks import Strings
from tui_trainer.models.recipe.tasks import TaskTurn, ask, wrap

Maker = Callable[[Strings], list[TaskTurn]]
SYSTEMS = ("Answer briefly.", "You are a helpful assistant.", "Answer in a few words.", "Be short.")
PRACTISED = 300
"""Invented facts that are known by heart in many wordings, so that being taught is nothing new."""


def known(made: Strings) -> list[TaskTurn]:
    """A question of the world, in any of its wordings."""
    rng = made.rng
    fact = rng.choice(_weighted_facts())
    turns = ask(_worded(fact, rng), fact.answer)
    if rng.random() < 0.05:
        return [TaskTurn("system", rng.choice(SYSTEMS)), *turns]
    return turns


@cache
def _weighted_facts() -> tuple[Fact, ...]:
    # Sums share all their words with each other and take the longest to be told apart.
    hard = tuple(fact for fact in facts() if fact.kind in ("sum", "difference"))
    return facts() + hard * 2


def _worded(fact: Fact, rng: random.Random) -> str:
    # The listed wordings are what is promised, so they get half of the practice as they stand.
    if rng.random() < 0.5:
        return rng.choice(fact.wordings[: fact.listed])
    return wrap(rng.choice(fact.wordings), rng)


@cache
def _practice() -> tuple[tasks.Relation, ...]:
    made = Strings(random.Random("practice"))
    seen: set[str] = set()
    kept: list[tasks.Relation] = []
    while len(kept) < PRACTISED:
        fact = tasks.relation(made)
        if seen.isdisjoint(fact.wordings):
            seen.update(fact.wordings)
            kept.append(fact)
    return tuple(kept)


def practised(made: Strings) -> list[TaskTurn]:
    """An invented fact that must be known by heart, in any wording of its question."""
    fact = made.rng.choice(_practice())
    return ask(wrap(made.rng.choice(fact.wordings), made.rng), fact.answer)


def overruled(made: Strings) -> list[TaskTurn]:
    """The user gives another answer to a known question, then asks again in other words."""
    rng = made.rng
    fact = rng.choice(facts())
    first, again = rng.choice(fact.wordings), rng.choice(fact.wordings)
    new = made.value(rng.choice(("person", "any", "any", "phrase", "number")))
    opened = [TaskTurn("user", first), TaskTurn("assistant", fact.answer)]
    if rng.random() < 0.5:
        told = rng.choice(
            ("No, {v}.", "Wrong: {v}.", "From now on: {v}.", "The right answer is {v}.")
        )
        turns = [*opened, TaskTurn("user", told.replace("{v}", new)), TaskTurn("assistant", new)]
    else:
        turns = [TaskTurn("user", first), TaskTurn("assistant", new, learned=False)]
    return turns + ask(wrap(again, rng), new)


def talk(made: Strings) -> list[TaskTurn]:
    """Several unrelated exchanges in one conversation, so that later positions are practised."""
    rng = made.rng
    makers: tuple[Maker, ...] = (known, known, tasks.copy, tasks.look_up)
    parts = [rng.choice(makers)(made) for _ in range(rng.randint(3, 9))]
    return [turn for part in parts for turn in part if turn.role != "system"]


SHARES: dict[Maker, float] = {
    known: 0.34, tasks.copy: 0.20, tasks.look_up: 0.14, tasks.reworded: 0.12, practised: 0.09,
    overruled: 0.04, tasks.pick: 0.02, tasks.carry_on: 0.02, tasks.plain_text: 0.01, talk: 0.02,
}  # fmt: skip


def conversations(seed: int) -> Iterator[list[TaskTurn]]:
    """The mixture, without end; the same seed gives the same conversations."""
    made = Strings(random.Random(seed))
    makers, shares = list(SHARES), list(SHARES.values())
    while True:
        yield made.rng.choices(makers, shares)[0](made)


def sample_text(seed: int, count: int) -> Iterator[str]:
    """Text for the tokenizer: the turns of `count` conversations, all facts, all plain words."""
    stream = conversations(seed)
    for _ in range(count):
        yield from (turn.text for turn in next(stream))
    for fact in facts() * 3:
        yield from (*fact.wordings, fact.answer)
    yield from [tasks.all_words()] * 5
