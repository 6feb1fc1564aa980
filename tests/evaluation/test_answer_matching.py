"""When an answer says what another one says."""

from __future__ import annotations

import pytest

from tui_trainer.evaluation import answer_matching


@pytest.mark.parametrize(
    ("facts", "answer", "right"),
    [
        (["paris"], "The capital of France is Paris.", True),
        (["paris"], "The capital of France is Parisian.", False),
        (["4/four"], "Two and two are Four!", True),
        (["red", "blue"], "Red and yellow.", False),
        (["o"], "Its symbol is O.", True),
        (["1000/1,000"], "There are 1,000 metres.", True),
        ([], "anything", True),
    ],
)
def test_key_facts_are_whole_words_in_any_wording(
    facts: list[str], answer: str, right: bool
) -> None:
    assert answer_matching.has_facts(facts, answer) is right


def test_key_facts_of_an_answer_are_numbers_and_names_that_the_question_lacks() -> None:
    question = "When did Columbus reach America?"
    answer = "Columbus reached America in 1492, sailing for Spain."
    assert answer_matching.key_facts(question, answer) == ["1492", "spain"]
    assert answer_matching.key_facts("What colour is snow?", "Snow is white.") == ["white"]


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ("Snow has a white colour, as everybody knows.", True),
        ("Snow is pink.", False),
        ("", False),
    ],
)
def test_the_same_facts_may_be_worded_differently(given: str, same: bool) -> None:
    assert answer_matching.same_facts("What colour is snow?", "Snow is white.", given) is same


def test_an_answer_without_facts_is_compared_as_a_whole() -> None:
    assert answer_matching.same_facts("Yes or no?", "no.", "no.")
    assert not answer_matching.same_facts("Yes or no?", "no.", "perhaps")
