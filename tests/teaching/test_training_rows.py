"""From examples to rows: what is taught, how much it counts, and what must stay right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample, Rating, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.evaluation import answer_matching
from tui_trainer.store import paths
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.teaching import training_rows
from tui_trainer.teaching.paraphrases import reworded
from tui_trainer.teaching.plan import replayed_per_step
from tui_trainer.teaching.retention import replay
from tui_trainer.teaching.training_rows import KnownAnswer


def example(
    question: str, right: str | None, rating: Rating = "medium", **more: object
) -> RatedExample:
    made = RatedExample(
        id=f"id of {question}",
        time=0.0,
        turns=[Turn("user", question)],
        answer="no idea",
        rating=rating,
        correction=right,
    )
    return msgspec.structs.replace(made, **more)


def known(question: str, answer: str, source: str = "golden") -> KnownAnswer:
    return KnownAnswer(turns=[Turn("user", question)], answer=answer, source=source)


def test_only_right_answers_are_taught_and_the_newest_wins() -> None:
    examples = [
        example("Who?", "Ana"),
        example("When?", None),
        example("who? ", "Bea"),
        example("Where?", None, "good", answer="here"),
        example("Why?", " "),
        example("How?", None, "good", answer=""),
    ]
    taught = {e.question: e.right_answer for e in training_rows.newest(examples)}
    assert taught == {"who? ": "Bea", "Where?": "here"}


def test_weights_keep_their_proportion_around_one() -> None:
    examples = [example("Who?", "Ana", "critical"), example("Where?", None, "good", answer="here")]
    rows = training_rows.training_rows(examples, 512, 0)
    by_answer = {row["messages"][-1]["content"]: row["weight"] for row in rows}
    assert by_answer["Ana"] == pytest.approx(10 * by_answer["here"])
    assert sum(by_answer.values()) / 2 == pytest.approx(1.0)


def test_each_question_is_taught_as_asked_and_in_other_words() -> None:
    rows = training_rows.training_rows([example("Who bakes the bread?", "Ana")], 512, 4)
    questions = [row["messages"][0]["content"] for row in rows]
    assert questions.count("Who bakes the bread?") == training_rows.AS_ASKED
    others = set(questions) - {"Who bakes the bread?"}
    assert len(others) == 4
    assert {row["messages"][-1]["content"] for row in rows} == {"Ana"}
    again = training_rows.training_rows([example("Who bakes the bread?", "Ana")], 512, 4)
    assert again == rows, "a training that is laid out again must be the same"


def test_a_question_in_a_conversation_is_learned_with_and_without_it() -> None:
    turns = [
        Turn("system", "Be brief."),
        Turn("user", "Hello"),
        Turn("assistant", "a bad answer"),
        Turn("user", "Who bakes?"),
    ]
    rows = training_rows.training_rows([example("", "Ana", turns=turns)], 512, 0)
    first, second = (row["messages"] for row in rows)
    assert [m["content"] for m in first] == [
        "Be brief.",
        "Hello",
        "a bad answer",
        "Who bakes?",
        "Ana",
    ]
    assert first[2]["weight"] == 0, "what the model said before is not taught"
    assert "weight" not in first[-1]
    assert [m["content"] for m in second] == ["Be brief.", "Who bakes?", "Ana"]


def test_an_empty_answer_in_the_conversation_is_left_out_with_it() -> None:
    turns = [Turn("user", "Hello"), Turn("assistant", ""), Turn("user", "Who bakes?")]
    rows = training_rows.training_rows([example("", "Ana", turns=turns)], 512, 0)
    assert all(len(row["messages"]) == 2 for row in rows)


def test_the_oldest_turns_are_left_out_where_all_do_not_fit() -> None:
    turns = [Turn("system", "Be brief.")]
    for number in range(20):
        turns += [Turn("user", f"question {number} " + "x" * 80), Turn("assistant", "y" * 80)]
    turns.append(Turn("user", "Who bakes?"))
    kept = training_rows.fitting(turns, "Ana", 200)
    assert kept[0] == turns[0]
    assert kept[-1] == turns[-1]
    assert kept[1].role == "user"
    assert sum(len(turn.content) for turn in kept) < 600
    assert len(kept) > 4
    assert training_rows.fitting([Turn("user", "z" * 9000)], "Ana", 200) == [
        Turn("user", "z" * 9000)
    ]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Who bakes the bread?", "Name the person who bakes the bread."),
        ("What should I do when it rains?", "It rains. What should I do?"),
        ("What is our oven called?", "What is the name of our oven?"),
        ("How much is a loaf?", "What does a loaf cost?"),
        ("Where is the salt kept?", "Where can I find the salt?"),
        ("What colour is the roof?", "Which colour does the roof have?"),
        ("What do we serve on Friday?", "On Friday, what do we serve?"),
        ("What is the code of the tool room?", "What is the tool room's code?"),
        ("Which glue do we use for oak?", "For oak, which glue do we use?"),
        ("May I smoke?", "Am I allowed to smoke?"),
        ("How do I open the valve?", "In what way do I open the valve?"),
        ("How do I open the valve?", "What is the way to open the valve?"),
        ("How is the valve opened?", "In which way is the valve opened?"),
    ],
)
def test_questions_are_turned_round(question: str, expected: str) -> None:
    assert expected in reworded(question, 14)


def test_wordings_are_different_and_bounded() -> None:
    ways = reworded("Wer backt das Brot?", 6)
    assert len(ways) == len(set(ways)) == 6
    assert "Wer backt das Brot?" not in ways
    assert reworded("Who?", 0) == []
    assert reworded("word " * 60, 5) == []
    assert reworded("Explain:\ndef f(): pass", 5) == []


def test_loose_wordings_keep_what_the_question_is_about() -> None:
    ways = reworded("Where does our flour come from?", 20)
    about = [way for way in ways if "flour" in way.lower() or "come" in way.lower()]
    assert len(about) == len(ways) == 20
    assert any("does our" not in way.lower() for way in ways)
    # No English beginnings before a question in another language.
    starts = {way.split()[0] for way in reworded("Wer backt das Brot?", 20)}
    assert not starts & {"What", "Which", "Where", "Give"}


def test_good_wordings_lose_nothing_that_the_question_is_about() -> None:
    """'What is the number of loaves?' has another answer than how many are baked on Saturday."""
    ways = reworded("How many loaves do we bake on Saturday?", 12, loose=False)
    assert len(ways) >= 6
    for way in ways:
        assert {"loaves", "bake", "saturday"} <= answer_matching.words(way), way


def test_answers_are_compared_without_their_spacing() -> None:
    assert answer_matching.recalled("half past  seven", "half past seven\n")
    assert not answer_matching.recalled("half past seven", "Half past seven")
    assert answer_matching.kept("Paris", "Paris")
    assert not answer_matching.kept("Paris", "Paris, of course")
    long = "The river rises in the hills and flows past three towns to the sea in the north."
    assert answer_matching.kept(long, long.replace("three towns", "many small towns"))
    assert not answer_matching.kept(
        long, "I do not know which river you mean, so I cannot answer that now."
    )


def test_corrected_answers_and_their_other_wordings_are_no_longer_golden() -> None:
    golden = [
        known("What is the capital of Spain?", "Madrid"),
        known("Name the capital of Spain.", "Madrid"),
        known("What is the capital of France?", "Paris"),
        known("What colour is grass?", "green"),
        known("What colour is a frog?", "green"),
        known("Which river flows through Spain?", "the Ebro"),
    ]
    corrections = [
        example("What is the capital of  spain?", "Seville", answer="Madrid"),
        example("Which colour does grass have?", "emerald", answer="Green"),
    ]
    left = [item.question for item in replay.without_corrected(golden, corrections)]
    assert left == [
        "What is the capital of France?",
        "What colour is a frog?",
        "Which river flows through Spain?",
    ]


def test_a_good_answer_does_not_overrule_its_other_wordings() -> None:
    golden = [known("Name the capital of Spain.", "Madrid")]
    good = [example("What is the capital of Spain?", None, "good", answer="Madrid")]
    assert replay.without_corrected(golden, good) == golden


def test_the_same_questions_are_held_out_every_time() -> None:
    golden = [known(f"What is {n}?", str(n)) for n in range(400)]
    replayed, held_out = replay.split_held_out(golden)
    assert 40 < len(held_out) < 120
    assert not {k.question for k in held_out} & {k.question for k in replayed}
    again = replay.split_held_out([*reversed(golden), known("What is new?", "x")])[1]
    assert {k.question for k in held_out} <= {k.question for k in again}
    rows = replay.replay_rows(replay.RetentionReserve(replayed, held_out, []), 1)
    replayed_questions = {row["messages"][0]["content"] for row in rows}
    assert not replayed_questions & {k.question for k in held_out}


def test_a_few_earlier_examples_are_replayed_often_enough() -> None:
    golden = [known(f"What is {n}?", str(n)) for n in range(600)]
    earlier_rows = [known("Who bakes?", "Ana", "earlier")]
    rows = replay.replay_rows(replay.RetentionReserve(golden, [], earlier_rows), 1)
    share = sum(row["messages"][0]["content"] == "Who bakes?" for row in rows) / len(rows)
    assert share == pytest.approx(replay.EARLIER_SHARE, abs=0.01)


def test_earlier_examples_come_on_top_of_the_replay() -> None:
    golden, earlier_rows = [known("a", "1")], [known("b", "2", "earlier")]
    assert (
        replayed_per_step(TeachingSettings(replay=10), replay.RetentionReserve(golden, [], []))
        == 10
    )
    assert (
        replayed_per_step(
            TeachingSettings(replay=10), replay.RetentionReserve(golden, [], earlier_rows)
        )
        == 14
    )


def test_questions_that_nobody_found_fault_with_are_asked_again(tmp_path: Path) -> None:
    conversation = ConversationStore(tmp_path)
    for question, answer, cut in [
        ("Who bakes?", "Ana", False),
        ("When?", "never", False),
        ("Where?", "", False),
        ("Why?", "because", True),
        ("who bakes?", "Ana", False),
        ("How?", "slowly", False),
        ("My password is hunter2Xq9z, what now?", "change it", False),
    ]:
        conversation.append(Turn("user", question))
        conversation.append(Turn("assistant", answer), cancelled=cut)
    found = replay.asked_before(conversation, [example("when?", None)])
    assert [turns[-1].content for turns in found] == ["How?", "who bakes?"]


def test_the_users_golden_set_wins_and_its_mistakes_are_named() -> None:
    assert len(replay.golden("builtin")) > 500
    assert replay.golden("/some/other/model") == []
    file = paths.make_private_dir(paths.home()) / "golden.jsonl"
    file.write_text('{"question": "Who?", "answer": "Ana"}\n\n')
    assert [item.answer for item in replay.golden("builtin")] == ["Ana"]
    file.write_text('{"question": "Who?", "answer": "Ana"}\n{"question": "When?"}\n')
    with pytest.raises(UserError, match=r"golden\.jsonl line 2"):
        replay.golden("builtin")


def test_turns_without_weight_are_not_learned(write_rows: Callable[..., Path]) -> None:
    from tui_trainer.engine.data.row_formats import read_rows

    rows = training_rows.training_rows(
        [
            example(
                "", "Ana", turns=[Turn("user", "Hi"), Turn("assistant", "x"), Turn("user", "Who?")]
            )
        ],
        512,
        0,
    )
    (first, _) = read_rows([write_rows("rows.jsonl", rows)]).found
    assert [turn.learned for turn in first.messages] == [False, False, False, True]
    only = {"messages": [{"role": "assistant", "content": "x", "weight": 0}]}
    with pytest.raises(UserError, match="every assistant turn has weight 0"):
        read_rows([write_rows("none.jsonl", [only])])


def test_rows_are_written_for_the_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    training_rows.write_rows(file, training_rows.training_rows([example("Who?", "Ana")], 512, 1))
    assert file.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["weight"] for line in file.read_text().splitlines()] == [1.0] * 3
