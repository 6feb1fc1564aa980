"""The learned tokens of a conversation, with three kinds of chat templates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.engine.data import dataset
from tui_trainer.models.base_model import load_tokenizer
from tui_trainer.store import jobs

TALK = [
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "the cat"},
    {"role": "user", "content": "two?"},
    {"role": "assistant", "content": "the dog ran"},
]
SYSTEM = [{"role": "system", "content": "be brief"}, *TALK]
FORGOTTEN = [TALK[0], {**TALK[1], "weight": 0}, *TALK[2:]]
# As in Mistral's tokenizers: no role names, the answer after a space, its end a token.
MISTRAL = (
    "{{ '<|end|>' }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} "
    "[/INST]{% else %} {{ m['content'] }}<|end|>{% endif %}{% endfor %}"
)
# As in Qwen 3's: the question to answer opens with an empty thought that no answer keeps.
THINKING = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think></think>{% endif %}"
)


@pytest.fixture
def shown(write_rows: Callable[..., Path]) -> Callable[..., str]:
    """One conversation's text with every run of learned tokens in ⟦⟧."""

    def show(messages: list[dict[str, Any]], tokenizer: Any, **settings: Any) -> str:
        file = write_rows("t.jsonl", [{"messages": messages}])
        values = {"data": {"train": str(file), **settings}}
        job = jobs.check_job(values, file.parent, "test")
        (example,) = dataset.load_dataset(job, tokenizer).train
        text, before = "", 0
        for token, on in zip(example.input_ids, example.learned, strict=True):
            text += ("⟦" if on > before else "⟧" if on < before else "") + tokenizer.decode([token])
            before = on
        return text + ("⟧" if before else "")

    return show


def test_chatml(qwen2_base: Path, shown: Callable[..., str]) -> None:
    tokenizer = load_tokenizer(str(qwen2_base))
    asked = "<|im_start|>user\none?<|im_end|>\n<|im_start|>assistant\n"
    again = "\n<|im_start|>user\ntwo?<|im_end|>\n<|im_start|>assistant\n"
    last = "⟦the dog ran<|im_end|>⟧\n"
    helpful = "<|im_start|>system\nYou are helpful.<|im_end|>\n"
    assert shown(TALK, tokenizer) == f"{helpful}{asked}⟦the cat<|im_end|>⟧{again}{last}"
    brief = "<|im_start|>system\nbe brief<|im_end|>\n"
    assert shown(SYSTEM, tokenizer) == f"{brief}{asked}⟦the cat<|im_end|>⟧{again}{last}"
    assert shown(FORGOTTEN, tokenizer) == f"{helpful}{asked}the cat<|im_end|>{again}{last}"


def test_llama_3(llama3_base: Path, shown: Callable[..., str]) -> None:
    tokenizer = load_tokenizer(str(llama3_base))

    def head(role: str) -> str:
        return f"<|start_header_id|>{role}<|end_header_id|>\n\n"

    assert shown(SYSTEM, tokenizer) == (
        f"<|begin_of_text|>{head('system')}be brief<|eot_id|>{head('user')}one?<|eot_id|>"
        f"{head('assistant')}⟦the cat<|eot_id|>⟧{head('user')}two?<|eot_id|>"
        f"{head('assistant')}⟦the dog ran<|eot_id|>⟧"
    )


def test_mistral_and_a_template_that_starts_answers_with_a_thought(
    tiny_base: Path, shown: Callable[..., str]
) -> None:
    tokenizer = copy.deepcopy(load_tokenizer(str(tiny_base)))
    tokenizer.chat_template = MISTRAL
    assert shown(TALK, tokenizer) == (
        "<|end|>[INST] one? [/INST]⟦ the cat<|end|>⟧[INST] two? [/INST]⟦ the dog ran<|end|>⟧"
    )
    tokenizer.chat_template = THINKING
    assert shown(TALK, tokenizer) == (
        "<|user|>one?<|end|><|assistant|>⟦the cat<|end|>⟧"
        "<|user|>two?<|end|><|assistant|>⟦the dog ran<|end|>⟧"
    )


def test_a_cut_answer_keeps_what_fits(llama3_base: Path, shown: Callable[..., str]) -> None:
    tokenizer = load_tokenizer(str(llama3_base))
    text = shown([TALK[0], {"role": "assistant", "content": "x" * 90}], tokenizer, max_length=40)
    assert text.endswith("\n\n⟦" + text.rpartition("⟦")[2])
    assert set(text.rpartition("⟦")[2]) == {"x", "⟧"}
