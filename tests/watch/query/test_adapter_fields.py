"""Queries about adapters: the syntax of the list of runs."""

from __future__ import annotations

import pytest

from tui_trainer.contracts.teaching.adapter import AdapterInfo, Measures
from tui_trainer.store.adapters.adapter_store import AdapterEntry
from tui_trainer.watch.query.adapter_fields import ADAPTERS, FIELDS, chosen
from tui_trainer.watch.query.fields import sort_items
from tui_trainer.watch.query.query import parse_for

BANK = AdapterEntry(
    AdapterInfo(
        name="bank", created_at=1000.0, base_model="/models/minilm", base_hash=None,
        task="classification", tags=["support", "english"], description="What a customer wants",
        steps=120, train_loss=0.03, scores={"val_accuracy": 0.99},
        after=Measures(recalled=0.5),
    ),
    2048, 3,
)  # fmt: skip
BARE = AdapterEntry(
    AdapterInfo(name="bare", created_at=2000.0, base_model="builtin", base_hash=None), 10, 0
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["bank", "bare"]),
        ("tag:support", ["bank"]),
        ("tag=supp", []),
        ("tag:supp", ["bank"]),
        ("tag!=english", ["bare"]),
        ("-tag:support", ["bare"]),
        ("customer", ["bank"]),
        ("support", ["bank"]),
        ("task:classification loss<1", ["bank"]),
        ("base=builtin", ["bare"]),
        ("val_accuracy>=0.9", ["bank"]),
        ("recalled>=50%", ["bank"]),
        ("age<1h", ["bank", "bare"]),
        ("steps>1k", []),
        ("queries=0", ["bare"]),
    ],
)
def test_conditions(text: str, names: list[str]) -> None:
    query = parse_for(ADAPTERS, text, {"val_accuracy"})
    assert query.problem is None
    found = [e.info.name for e in (BANK, BARE) if query.matches(e, 2500.0, e.info.scores)]
    assert found == names


def test_an_unknown_field_names_the_nearest() -> None:
    assert parse_for(ADAPTERS, "los<1").problem == "there is no field 'los'; did you mean loss?"
    assert (
        parse_for(ADAPTERS, "loss<x").problem == "loss< needs a number, not 'x', such as 2 or 1e-4"
    )


def test_a_score_needs_a_number() -> None:
    """It would match nothing otherwise, as if no adapter was that good."""
    _, problem = chosen([BANK, BARE], "val_accuracy>=high", 2500.0)
    assert problem == "val_accuracy>= needs a number, not 'high', such as 2 or 1e-4"
    assert chosen([BANK, BARE], "val_accuracy>=0.9", 2500.0) == ([BANK], None)


def test_every_field_sorts() -> None:
    for field in FIELDS:
        assert len(sort_items([BARE, BANK], field, field.descending, 3000.0)) == 2
    assert sort_items([BARE, BANK], ADAPTERS.fields["steps"], True) == [BANK, BARE]
    assert sort_items([BANK, BARE], ADAPTERS.fields["tag"]) == [BANK, BARE]
