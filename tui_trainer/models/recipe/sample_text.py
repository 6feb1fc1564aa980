"""The training data: an endless stream of conversations, determined by its seed."""

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
# Invented facts that are memorised in many wordings, as facts from corrections are later.
MEMORISED = 300


def known_fact(made: Strings) -> list[TaskTurn]:
    """Ask for a fact of `fact_world`, in any of its wordings."""
    rng = made.rng
    fact = rng.choice(_weighted_facts())
    turns = ask(_worded(fact, rng), fact.answer)
    if rng.random() < 0.05:
        return [TaskTurn("system", rng.choice(SYSTEMS)), *turns]
    return turns


@cache
def _weighted_facts() -> tuple[Fact, ...]:
    # Sums have the same wordings and take the longest to learn.
    hard = tuple(fact for fact in facts() if fact.kind in ("sum", "difference"))
    return facts() + hard * 2


def _worded(fact: Fact, rng: random.Random) -> str:
    # Half of the questions have a listed wording, as the model must answer those exactly.
    if rng.random() < 0.5:
        return rng.choice(fact.wordings[: fact.listed])
    return wrap(rng.choice(fact.wordings), rng)


@cache
def _memorised_facts() -> tuple[tasks.Relation, ...]:
    made = Strings(random.Random("practice"))
    seen: set[str] = set()
    kept: list[tasks.Relation] = []
    while len(kept) < MEMORISED:
        fact = tasks.relation(made)
        if seen.isdisjoint(fact.wordings):
            seen.update(fact.wordings)
            kept.append(fact)
    return tuple(kept)


def memorised_fact(made: Strings) -> list[TaskTurn]:
    """Ask for an invented fact that is memorised, in any wording."""
    fact = made.rng.choice(_memorised_facts())
    return ask(wrap(made.rng.choice(fact.wordings), made.rng), fact.answer)


def corrected_fact(made: Strings) -> list[TaskTurn]:
    """Let the user correct the answer to a known question, then ask again in another wording."""
    rng = made.rng
    fact = rng.choice(facts())
    first, again = rng.choice(fact.wordings), rng.choice(fact.wordings)
    new = made.value(rng.choice(("person", "any", "any", "phrase", "number")))
    opened = [TaskTurn("user", first), TaskTurn("assistant", fact.answer)]
    if rng.random() < 0.5:
        correction = rng.choice(
            ("No, {v}.", "Wrong: {v}.", "From now on: {v}.", "The right answer is {v}.")
        )
        turns = [
            *opened,
            TaskTurn("user", correction.replace("{v}", new)),
            TaskTurn("assistant", new),
        ]
    else:
        turns = [TaskTurn("user", first), TaskTurn("assistant", new, learned=False)]
    return turns + ask(wrap(again, rng), new)


def long_conversation(made: Strings) -> list[TaskTurn]:
    """Join several unrelated exchanges, so that later positions are trained as well."""
    rng = made.rng
    makers: tuple[Maker, ...] = (known_fact, known_fact, tasks.copy, tasks.look_up)
    parts = [rng.choice(makers)(made) for _ in range(rng.randint(3, 9))]
    return [turn for part in parts for turn in part if turn.role != "system"]


# Share of each kind of conversation.
SHARES: dict[Maker, float] = {
    known_fact: 0.34, tasks.copy: 0.20, tasks.look_up: 0.14, tasks.reworded: 0.12,
    memorised_fact: 0.09, corrected_fact: 0.04, tasks.pick: 0.02, tasks.continue_sequence: 0.02,
    tasks.plain_text: 0.01, long_conversation: 0.02,
}  # fmt: skip


def conversations(seed: int) -> Iterator[list[TaskTurn]]:
    """Yield conversations without end; the same seed gives the same ones."""
    made = Strings(random.Random(seed))
    makers, shares = list(SHARES), list(SHARES.values())
    while True:
        yield made.rng.choices(makers, shares)[0](made)


def sample_text(seed: int, count: int) -> Iterator[str]:
    """Yield text for the tokenizer: the turns of `count` conversations, all facts, all words."""
    stream = conversations(seed)
    for _ in range(count):
        yield from (turn.text for turn in next(stream))
    for fact in facts() * 3:
        yield from (*fact.wordings, fact.answer)
    yield from [tasks.all_words()] * 5
