"""Every row format of both tasks gives the loss and gradients of Hugging Face. The expected labels
come from tokenising prompt and answer separately."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.test_exact_loss import CPU, attach, gradients, ours
from tui_trainer.engine.data import dataset as dataset_module
from tui_trainer.engine.loss import CLASSIFICATION, choose_forward_mode
from tui_trainer.models.base_model import load_base, load_tokenizer
from tui_trainer.store import jobs

Turns = list[dict[str, str]]
ANSWERS = ("the cat sat", "dog", "on the mat and the mat", "ran")


def turns(question: str, answer: str, system: str = "") -> Turns:
    asked = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [{"role": "system", "content": system}, *asked] if system else asked


def talk(answer: str) -> Turns:
    return [*turns("one?", "first", "be brief"), *turns(f"two {answer[:3]}?", answer)]


# shape -> an answer's row, and the conversation that it is
SHAPES: dict[str, tuple[Callable[[str], dict[str, Any]], Callable[[str], Turns]]] = {
    "messages": (lambda a: {"messages": talk(a)}, talk),
    "instruction": (
        lambda a: {"instruction": f"say {a[:2]}", "input": "now", "output": a},
        lambda a: turns(f"say {a[:2]}\n\nnow", a),
    ),
    "prompt": (
        lambda a: {"prompt": f"say {a[:2]}", "completion": a, "system": "be kind"},
        lambda a: turns(f"say {a[:2]}", a, "be kind"),
    ),
    "question": (
        lambda a: {"question": f"{a[:2]}?", "answer": a},
        lambda a: turns(f"{a[:2]}?", a),
    ),
    "query": (lambda a: {"query": f"{a[:2]}?", "response": a}, lambda a: turns(f"{a[:2]}?", a)),
}


def labels_of(tokenizer: Any, messages: Turns) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and its labels: -100 but for the assistant's turns."""

    def ids(some: Turns, ask: bool = False) -> list[int]:
        text = tokenizer.apply_chat_template(some, tokenize=False, add_generation_prompt=ask)
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    whole = ids(messages)
    labels = [-100] * len(whole)
    for at, turn in enumerate(messages):
        if turn["role"] == "assistant":
            start, end = len(ids(messages[:at], ask=True)), len(ids(messages[: at + 1]))
            labels[start:end] = whole[start:end]
    return whole, labels


def padded(rows: list[list[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows])


def dataset(file: Path, base: Path, **job: Any) -> dataset_module.Dataset:
    values = {"data": {"train": str(file), "balance": "none"}, **job}
    checked = jobs.check_job(values, file.parent, "test")
    return dataset_module.load_dataset(checked, load_tokenizer(str(base)))


def assert_equal(model: Any, theirs: torch.Tensor, mine: torch.Tensor) -> None:
    assert mine.item() == pytest.approx(theirs.item(), abs=2e-6)
    wanted = gradients(model, theirs)
    assert any(gradient.norm() > 0 for gradient in wanted.values())
    for name, gradient in gradients(model, mine).items():
        assert (gradient - wanted[name]).norm() <= 1e-4 * wanted[name].norm() + 1e-9, name


@pytest.mark.parametrize("shape", [*SHAPES, "text"])
def test_every_row_format_gives_the_loss_and_gradients_of_hugging_face(
    shape: str, tiny_base: Path, write_rows: Callable[..., Path]
) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    if shape == "text":
        rows: list[dict[str, Any]] = [{"text": answer} for answer in ANSWERS]
        whole = [tokenizer(a + tokenizer.eos_token)["input_ids"] for a in ANSWERS]
        labels = whole
    else:
        make, say = SHAPES[shape]
        rows = [make(answer) for answer in ANSWERS]
        both = [labels_of(tokenizer, say(answer)) for answer in ANSWERS]
        whole, labels = [ids for ids, _ in both], [label for _, label in both]
    found = dataset(write_rows("t.jsonl", rows), tiny_base)
    assert [example.input_ids for example in found.train] == whole
    model = attach(load_base(str(tiny_base), CPU, torch.float32))
    goal = padded(labels, -100)
    theirs = model(
        input_ids=padded(whole, 0),
        attention_mask=padded([[1] * len(ids) for ids in whole], 0),
        labels=goal,
        num_items_in_batch=(goal[:, 1:] != -100).sum(),
    ).loss
    way = choose_forward_mode(model.get_base_model())
    assert_equal(model, theirs, ours(model, found.train, way, 3))


@pytest.mark.parametrize("kind", ["encoder", "tiny_base"])
def test_a_classifier_gives_the_loss_and_gradients_of_hugging_face(
    kind: str, request: pytest.FixtureRequest, write_rows: Callable[..., Path]
) -> None:
    base = request.getfixturevalue(kind)
    rows = [{"text": answer, "label": ("x", "y", "x", "z")[i]} for i, answer in enumerate(ANSWERS)]
    found = dataset(write_rows("t.jsonl", rows), base, task="classification")
    torch.manual_seed(1)
    causal = load_base(str(base), CPU, torch.float32, labels=found.labels)
    causal.config.pad_token_id = load_tokenizer(str(base)).pad_token_id
    model = attach(causal).eval()  # an encoder has dropout of its own
    whole, pad = [example.input_ids for example in found.train], causal.config.pad_token_id
    theirs = model(
        input_ids=padded(whole, pad),
        attention_mask=padded([[1] * len(ids) for ids in whole], 0),
        labels=torch.tensor([0, 1, 0, 2]),
    ).loss
    assert_equal(model, theirs, ours(model, found.train, CLASSIFICATION, 3, pad))
