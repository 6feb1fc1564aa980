"""The built-in model: small, loadable by transformers, knows its facts, can copy words."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tui_trainer.models.recipe import evaluate
from tui_trainer.models.recipe.fact_world import questions
from tui_trainer.models.recipe.string_tasks import Strings, held_out
from tui_trainer.models.recipe.tasks import TaskTurn, ask
from tui_trainer.models.recipe.tokenizer import Encoder

FOLDER = Path(evaluate.__file__).parents[1] / "builtin"


@pytest.fixture(scope="module")
def base() -> Iterator[tuple[Any, Any]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield evaluate.load(FOLDER)
    torch.set_num_threads(threads)


def listed() -> list[dict[str, str]]:
    lines = FOLDER.joinpath("questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_folder_is_small_and_complete() -> None:
    assert evaluate.folder_bytes(FOLDER) <= evaluate.MOST_BYTES
    names = {path.name for path in FOLDER.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors"} <= names
    assert {"tokenizer.json", "tokenizer_config.json", "questions.jsonl", "README.md"} <= names


def test_it_loads_plainly_with_its_special_tokens(base: tuple[Any, Any]) -> None:
    model, tokenizer = base
    assert model.config.model_type == "llama"
    assert model.dtype == torch.float32
    assert model.config.max_position_embeddings >= 1024
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.eos_token_id == model.generation_config.eos_token_id
    assert tokenizer.pad_token_id == model.generation_config.pad_token_id
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_questions_do_not_contradict_each_other() -> None:
    rows = listed()
    assert len({row["question"] for row in rows}) == len(rows)
    assert 300 <= len(rows) <= 1500
    assert all(row["question"] and row["answer"] and row["kind"] for row in rows)


def test_questions_are_those_of_the_recipe() -> None:
    assert [tuple(row.values()) for row in listed()] == [
        (turns[0].text, turns[1].text, q.kind)
        for turns, q in zip(evaluate.own_questions(), questions(), strict=True)
    ]


def test_it_answers_the_questions_of_its_world(base: tuple[Any, Any]) -> None:
    rows = random.Random(11).sample(listed(), 150)
    cases = [ask(row["question"], row["answer"]) for row in rows]
    figure = evaluate.measure(*base, "own", cases)
    assert figure.share >= 0.98, figure.misses


def test_it_repeats_words_that_it_never_saw(base: tuple[Any, Any]) -> None:
    made = Strings(random.Random(12), unseen=True)
    texts = [" ".join(made.item() for _ in range(1 + at % 4)) for at in range(60)]
    cases = [ask(f"Repeat these words: {text}", text) for text in texts]
    figure = evaluate.measure(*base, "copy", cases)
    assert figure.share >= 0.95, figure.misses


def test_unseen_items_never_stand_among_the_trained_ones() -> None:
    trained, unseen = Strings(random.Random(1)), Strings(random.Random(1), unseen=True)
    assert not any(held_out(trained.invented()) for _ in range(200))
    assert all(held_out(unseen.item()) for _ in range(200))


def test_any_text_survives_the_tokenizer(base: tuple[Any, Any]) -> None:
    tokenizer = base[1]
    for text in (
        "  two  spaces\tand\nlines ",
        "naïve café – ☃ 漢字 🙂",
        "x = [1, 22]; # ok",
        "don 't",
    ):
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text


def test_the_chat_template_marks_the_words_of_the_assistant(base: tuple[Any, Any]) -> None:
    tokenizer = base[1]
    turns = [
        TaskTurn("system", "Be short."), TaskTurn("user", "Hi  there"),
        TaskTurn("assistant", "Hello\n"),
        TaskTurn("user", "Who?"), TaskTurn("assistant", "Me."),
    ]  # fmt: skip
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    made = tokenizer.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, learned = Encoder(tokenizer)(turns)
    assert made["input_ids"] == ids
    assert [bool(mark) for mark in made["assistant_masks"]] == learned
    marked = [token for token, mark in zip(ids, learned, strict=True) if mark]
    assert tokenizer.decode(marked) == "Hello\n<|end|>Me.<|end|>"


def test_the_prompt_of_an_answer_begins_the_whole_conversation(base: tuple[Any, Any]) -> None:
    tokenizer = base[1]
    user, answer = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}
    prompt = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([user, answer], tokenize=False)
    assert whole == prompt + "Yo<|end|>"


def test_generate_ends_by_itself(base: tuple[Any, Any]) -> None:
    model, tokenizer = base
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**inputs)
    assert made[0, -1] == tokenizer.eos_token_id
    new = made[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(new, skip_special_tokens=True) == "Paris"
