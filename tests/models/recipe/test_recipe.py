"""The recipe of the built-in model is reproducible, and one command runs it."""

from __future__ import annotations

import json
import tomllib
from itertools import islice
from pathlib import Path

import pytest
import torch

from tui_trainer.models.recipe import evaluate, teachable_facts, train
from tui_trainer.models.recipe.__main__ import main
from tui_trainer.models.recipe.fact_world import facts, questions
from tui_trainer.models.recipe.sample_text import SHARES, conversations
from tui_trainer.models.recipe.tasks import TaskTurn

EXAMPLES = Path(evaluate.__file__).parents[2] / "examples"


def first(seed: int, count: int) -> list[list[TaskTurn]]:
    return list(islice(conversations(seed), count))


def test_the_same_seed_gives_the_same_conversations() -> None:
    assert first(3, 300) == first(3, 300)
    assert first(3, 30) != first(4, 30)


def test_every_conversation_ends_with_a_learned_turn() -> None:
    for turns in first(5, 500):
        assert turns[-1].learned
        assert turns[-1].role in ("assistant", "text")
        assert all(turn.text for turn in turns)


def test_the_shares_sum_to_one() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)


def test_no_wording_has_two_answers() -> None:
    answers: dict[str, str] = {}
    for fact in facts():
        for wording in fact.wordings:
            assert answers.setdefault(wording, fact.answer) == fact.answer
    assert {q.question: q.answer for q in questions()}.items() <= answers.items()


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    one, tokenizer = train.train(3, 5)
    two, again = train.train(3, 5)
    torch.set_num_threads(threads)
    assert tokenizer.get_vocab() == again.get_vocab()
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert "step 3/3  loss" in capsys.readouterr().err
    train.save(one, tokenizer, tmp_path)
    loaded, _ = evaluate.load(tmp_path)
    assert loaded.dtype == torch.float32
    assert evaluate.folder_bytes(tmp_path) < evaluate.MOST_BYTES


def test_a_folder_without_a_model_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--check", str(tmp_path)])
    assert ended.value.code == 2
    assert "contains no model" in capsys.readouterr().err


def test_requirements_that_are_not_met_are_named(tmp_path: Path) -> None:
    figures = [evaluate.Figure("own questions", 97, 100), evaluate.Figure("else", 0, 9)]
    assert evaluate.failures(figures, tmp_path) == ["own questions: 97 % right, 98 % required"]
    assert evaluate.failures([evaluate.Figure("own questions", 98, 100)], tmp_path) == []


def test_every_set_has_ten_corrections_and_no_question_twice() -> None:
    sets = teachable_facts.correction_sets()
    assert {s["group"] for s in sets} == {"dev", "test"}
    assert all(len(s["items"]) == 10 for s in sets)
    asked = [question for s in sets for *both, _ in s["items"] for question in both]
    assert len(set(asked)) == len(asked)


def test_the_data_of_the_example_job_is_complete() -> None:
    job = tomllib.loads(EXAMPLES.joinpath("lighthouse.toml").read_text(encoding="utf-8"))
    rows = {}
    for part in ("train", "validation"):
        lines = EXAMPLES.joinpath(job["data"][part]).read_text(encoding="utf-8").splitlines()
        rows[part] = [json.loads(line) for line in lines]
        assert all(set(row) == {"question", "answer"} for row in rows[part])
        assert all(1 <= len(row["answer"].split()) <= 10 for row in rows[part])
    assert not {r["question"] for r in rows["train"]} & {r["question"] for r in rows["validation"]}
    assert {r["answer"] for r in rows["validation"]} <= {r["answer"] for r in rows["train"]}


@pytest.mark.slow
def test_ten_corrections_are_learned_and_known_answers_are_kept() -> None:
    chosen = teachable_facts.correction_sets("dev")[0]
    folder = Path(evaluate.__file__).parents[1] / "builtin"
    taught = teachable_facts.teach_set(folder, chosen, teachable_facts.TeachingRecipe())
    assert taught.recalled == 1
    assert taught.reworded >= 0.7
    assert taught.kept >= 0.95


@pytest.mark.slow
def test_the_command_writes_a_folder_and_refuses_a_poor_model(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path), "--steps", "2"]) == 1
    assert (tmp_path / "README.md").read_text(encoding="utf-8").startswith("---\n")
    assert (tmp_path / "questions.jsonl").is_file()
