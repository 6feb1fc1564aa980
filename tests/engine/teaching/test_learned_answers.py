"""When taught answers count as learned."""

from __future__ import annotations

import math

from tui_trainer.engine.data.example import Example
from tui_trainer.engine.teaching.learned_answers import LEARNED_PROBABILITY, LearnedAnswers

SURE, UNSURE = -math.log(LEARNED_PROBABILITY + 0.01), -math.log(LEARNED_PROBABILITY - 0.01)


def example(group: str, learned: int = 2) -> Example:
    return Example([7] * (learned + 1), [0] + [1] * learned, 1.0, group=group)


def test_an_answer_is_learned_when_every_token_is_likely_enough() -> None:
    answers = LearnedAnswers([example("a"), example("b")], 2)
    in_a_row: dict[str, int] = {}
    for losses in ([SURE, SURE, SURE, UNSURE], [SURE] * 4, [SURE] * 4):
        answers.begin_step()
        answers.note([example("a"), example("b")], losses)
        answers.end_step(in_a_row)
        if losses[-1] == UNSURE:
            assert (answers.learned(in_a_row), answers.finished(in_a_row)) == (1, False)
    assert in_a_row == {"a": 3, "b": 2}
    assert answers.finished(in_a_row)
    assert (answers.total, answers.learned(in_a_row)) == (2, 2)


def test_a_step_with_one_wrong_wording_starts_the_count_again() -> None:
    answers = LearnedAnswers([example("a")], 2)
    in_a_row = {"a": 5}
    answers.begin_step()
    answers.note([example("a", 1), example("a", 1)], [SURE, UNSURE])
    answers.note([example("a", 1)], [SURE])
    answers.end_step(in_a_row)
    assert in_a_row == {"a": 0}


def test_a_repeated_step_and_replayed_examples_do_not_count() -> None:
    answers = LearnedAnswers([example("a", 1)], 1)
    in_a_row: dict[str, int] = {}
    answers.begin_step()
    answers.note([example("a", 1)], [UNSURE])
    answers.begin_step()  # memory ran out
    answers.note([example("", 1), example("a", 1)], [UNSURE, SURE])
    answers.end_step(in_a_row)
    assert in_a_row == {"a": 1}
    assert answers.finished(in_a_row)


def test_the_steps_left_are_exact_once_all_answers_are_right() -> None:
    answers = LearnedAnswers([example("a"), example("b")], 3)
    assert answers.steps_left({"a": 1, "b": 2}, 30) == 2
    assert answers.steps_left({"a": 3, "b": 3}, 30) == 0
    assert answers.steps_left({"a": 1}, 4) == 16
    assert answers.steps_left({"a": 1}, 30) > 0
