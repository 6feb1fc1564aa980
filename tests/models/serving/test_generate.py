"""Prompts, answers, and where they end, on small random models in this process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.models import base_model, chat_template
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.models.serving.token_choice import Sampling

QUESTION = [Turn("user", "the cat sat on")]


def writer_for(folder: Path) -> TextGenerator:
    device = torch.device("cpu")
    tokenizer = base_model.load_tokenizer(str(folder))
    return TextGenerator(base_model.load_base(str(folder), device, torch.float32), tokenizer)


@pytest.fixture(scope="module")
def tiny(tiny_base: Path) -> TextGenerator:
    return writer_for(tiny_base)


@pytest.fixture(scope="module")
def qwen2(qwen2_base: Path) -> TextGenerator:
    return writer_for(qwen2_base)


def write(
    writer: TextGenerator, turns: list[Turn], room: int = 24, **sampling: Any
) -> tuple[str, str]:
    """The answer, and what was streamed of it."""
    pieces: list[str] = []
    asked = writer.fit(turns, room)
    written = writer.write(asked, Sampling(**sampling), pieces.append, lambda: False)
    return written.text, "".join(pieces)


def test_a_streamed_answer_is_what_plain_transformers_generates(qwen2_base: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(qwen2_base)
    tokenizer: Any = AutoTokenizer.from_pretrained(qwen2_base)
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "the cat sat on"}],
        add_generation_prompt=True,
        return_tensors="pt",
    )
    made = model.generate(
        **inputs, max_new_tokens=24, do_sample=False, repetition_penalty=1.0, eos_token_id=[0, 2]
    )
    plain = tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    text, streamed = write(writer_for(qwen2_base), QUESTION)

    assert text == streamed == plain
    assert text


def test_an_answer_arrives_in_whole_characters(tiny: TextGenerator, monkeypatch: Any) -> None:
    wanted = "日本 äöü 🙂 end"
    ids = tiny.tokenizer(wanted, add_special_tokens=False).input_ids

    def generate(input_ids: Any, stopping_criteria: Any, **_: Any) -> Any:
        for token in ids:
            input_ids = torch.cat([input_ids, torch.tensor([[token]])], dim=1)
            stopping_criteria(input_ids, None)
        return input_ids

    monkeypatch.setattr(tiny, "decoder", None)
    monkeypatch.setattr(tiny.model, "generate", generate)
    pieces: list[str] = []
    written = tiny.write(tiny.fit(QUESTION, 64), Sampling(), pieces.append, lambda: False)

    assert written.text == "".join(pieces) == wanted
    assert len(ids) > len(pieces) > 5
    assert not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_are_no_character_are_shown_at_the_end(
    tiny: TextGenerator, monkeypatch: Any
) -> None:
    first_byte = tiny.tokenizer("日", add_special_tokens=False).input_ids[0]

    def generate(input_ids: Any, stopping_criteria: Any, **_: Any) -> Any:
        input_ids = torch.cat([input_ids, torch.tensor([[first_byte]])], dim=1)
        stopping_criteria(input_ids, None)
        return input_ids

    monkeypatch.setattr(tiny, "decoder", None)
    monkeypatch.setattr(tiny.model, "generate", generate)
    pieces: list[str] = []
    written = tiny.write(tiny.fit(QUESTION, 4), Sampling(), pieces.append, lambda: False)
    assert written.text == "".join(pieces) == "\ufffd"


def test_sampling_is_repeatable_by_its_seed_and_differs_without(qwen2: TextGenerator) -> None:
    warm: dict[str, Any] = {"temperature": 1.5, "top_p": 0.95}
    first, streamed = write(qwen2, QUESTION, **warm, seed=3)
    assert first == streamed == write(qwen2, QUESTION, **warm, seed=3)[0]
    assert first != write(qwen2, QUESTION, **warm, seed=4)[0]
    assert first != write(qwen2, QUESTION)[0]


def test_a_vanishing_top_p_is_greedy(qwen2: TextGenerator) -> None:
    narrow = write(qwen2, QUESTION, temperature=1.0, top_p=1e-6, seed=1)
    assert narrow == write(qwen2, QUESTION)


def test_a_batch_answers_as_one_at_a_time_does(qwen2: TextGenerator) -> None:
    questions = [[Turn("user", "the dog ran " * n + str(n))] for n in (1, 5, 2, 9, 3, 7)]
    asked = [qwen2.fit(turns, 20) for turns in questions]
    finished: list[int] = []

    def between(done: int) -> bool:
        finished.append(done)
        return False

    texts = qwen2.write_many(asked, between)

    assert texts == [write(qwen2, turns, 20)[0] for turns in questions]
    assert len(set(texts)) > 1
    assert finished[0] == 0
    assert finished[-1] == len(questions)


def test_a_batch_near_the_end_of_the_context_answers_like_one_at_a_time(
    tiny: TextGenerator,
) -> None:
    questions = [[Turn("user", "x" * n)] for n in (3, 180, 200, 245)]
    asked = [tiny.fit(turns, 100) for turns in questions]
    assert [len(a.input_ids) + a.max_new_tokens <= 256 for a in asked] == [True] * 4
    assert tiny.write_many(asked, lambda _: False) == [
        write(tiny, turns, 100)[0] for turns in questions
    ]


def test_a_batch_ends_on_request(qwen2: TextGenerator) -> None:
    calls = 0

    def between(_: int) -> bool:
        nonlocal calls
        calls += 1
        return calls == 3

    asked = [qwen2.fit(QUESTION, 500)] * 2
    assert qwen2.write_many(asked, between) is None
    assert calls == 3


def test_a_cancelled_answer_keeps_what_there_is(qwen2: TextGenerator) -> None:
    pieces: list[str] = []
    asked = qwen2.fit(QUESTION, 500)
    written = qwen2.write(asked, Sampling(), pieces.append, lambda: len(pieces) > 2)
    whole = write(qwen2, QUESTION, 500)[0]
    assert written.finish == "cancelled"
    assert written.tokens < 20
    assert whole.startswith(written.text)
    assert written.text
    assert qwen2.write(asked, Sampling(), pieces.append, lambda: True).tokens == 0


@pytest.mark.parametrize(
    ("name", "stops"),
    [("tiny_base", ["<|end|>"]), ("qwen2_base", ["<|endoftext|>", "<|im_end|>"]),
     ("llama3_base", ["<|end_of_text|>", "<|eot_id|>"])],
)  # fmt: skip
def test_answers_end_at_every_end_that_a_base_knows(
    name: str, stops: list[str], request: pytest.FixtureRequest
) -> None:
    writer = writer_for(request.getfixturevalue(name))
    assert writer.tokenizer.convert_ids_to_tokens(writer.stops) == stops


def test_generation_stops_at_the_end_of_a_turn(qwen2_base: Path) -> None:
    writer = writer_for(qwen2_base)
    end = writer.tokenizer.convert_tokens_to_ids("<|im_end|>")
    with torch.no_grad():  # the hidden state of the first new token points at the end token
        hidden = writer.model.model(
            torch.tensor([writer.fit(QUESTION, 8).input_ids])
        ).last_hidden_state[0, -1]
        writer.model.get_output_embeddings().weight[end] = hidden * 100
    written = writer.write(writer.fit(QUESTION, 8), Sampling(), lambda _: None, lambda: False)
    assert (written.text, written.tokens) == ("", 1)


def test_without_a_template_turns_stand_on_lines_of_their_own(
    tiny_base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(tiny_base, folder)
    (folder / "chat_template.jinja").unlink()
    writer = writer_for(folder)
    turns = [Turn("system", "be brief"), Turn("user", "a"), Turn("assistant", "b")]
    turns.append(Turn("user", "c"))
    text = chat_template.render(writer.tokenizer, turns, ask=True)
    assert text == "be brief\na\nb<|end|>c\n"
    assert writer.fit(turns, 8).input_ids == writer.tokenizer(text).input_ids
    assert write(writer, turns)[0]


def test_long_conversations_lose_their_oldest_exchanges(tiny: TextGenerator) -> None:
    turns = [Turn("system", "be brief")]
    for number in range(8):
        turns += [Turn("user", f"question {number} {'x' * 20}"), Turn("assistant", "answer")]
    turns.append(Turn("user", "the last question"))

    asked = tiny.fit(turns, 32)

    text = tiny.tokenizer.decode(asked.input_ids)
    assert len(asked.input_ids) + asked.max_new_tokens <= 256
    assert asked.max_new_tokens == 32
    assert asked.dropped_turns % 2 == 0
    assert 2 <= asked.dropped_turns < 16
    assert text.startswith("<|system|>be brief<|end|><|user|>question")
    assert f"question {asked.dropped_turns // 2} " in text
    assert f"question {asked.dropped_turns // 2 - 1} " not in text
    assert text.endswith("<|user|>the last question<|end|><|assistant|>")


def test_a_long_question_leaves_less_room_for_the_answer(tiny: TextGenerator) -> None:
    asked = tiny.fit([Turn("user", "old"), Turn("assistant", "x"), Turn("user", "y" * 240)], 100)
    assert asked.dropped_turns == 2
    assert asked.max_new_tokens == 256 - len(asked.input_ids) < 100


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([], "no question"),
        ([Turn("user", "a"), Turn("assistant", "b")], "no question"),
        ([Turn("user", "y" * 300)], "the base reads at most 256; shorten"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    tiny: TextGenerator, turns: list[Turn], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        tiny.fit(turns, 10)


def test_what_a_template_refuses_is_reported(tiny_base: Path) -> None:
    tokenizer = base_model.load_tokenizer(str(tiny_base))
    tokenizer.chat_template = "{{ raise_exception('no system turns') }}"
    with pytest.raises(UserError, match="template refuses the conversation: no system turns"):
        chat_template.render(tokenizer, QUESTION, ask=True)
    assert chat_template.stop_tokens(
        AutoModelForCausalLM.from_pretrained(tiny_base), tokenizer
    ) == [0]
