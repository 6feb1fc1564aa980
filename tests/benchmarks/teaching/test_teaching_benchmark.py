"""The sets are what they are said to be; measuring them takes minutes: docs/measurements.md."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tui_trainer.store import paths

SETS = Path(__file__).with_name("sets.toml")


def load(file: Path) -> list[dict[str, object]]:
    import tomllib

    found: list[dict[str, object]] = tomllib.loads(file.read_text(encoding="utf-8"))["set"]
    return found


@pytest.mark.parametrize("chosen", load(SETS), ids=lambda chosen: str(chosen["name"]))
def test_a_set_has_two_corrections_of_each_kind(chosen: dict[str, object]) -> None:
    items = chosen["items"]
    assert isinstance(items, list)
    assert Counter(item[0] for item in items) == dict.fromkeys(
        ["fact", "rule", "name", "number", "changed"], 2
    )
    questions = [question for item in items for question in item[1:3]]
    assert len(set(questions)) == 20
    assert len({item[3] for item in items}) == 10
    golden = (paths.builtin_model() / "questions.jsonl").read_text(encoding="utf-8")
    for kind, question, _, answer in items:
        assert (f'"{question}"' in golden) == (kind == "changed"), question
        assert f'"question": "{question}", "answer": "{answer}"' not in golden


def test_the_test_sets_are_enough_and_guided_nothing() -> None:
    sets = load(SETS)
    assert sum(chosen["group"] == "test" for chosen in sets) >= 5
    recipe = paths.builtin_model().parent / "recipe"
    known = "".join(file.read_text(encoding="utf-8") for file in recipe.glob("*.toml"))
    for chosen in sets:
        if chosen["group"] == "test":
            items = chosen["items"]
            assert isinstance(items, list)
            for _, _, _, answer in items:
                assert not re.search(rf'"{re.escape(answer)}"', known), answer
