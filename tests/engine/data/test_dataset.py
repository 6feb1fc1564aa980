"""Rows, masks, order and batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.engine.data import batching, row_formats
from tui_trainer.engine.data import dataset as dataset_module
from tui_trainer.engine.data.batching import BatchPlan
from tui_trainer.engine.data.example import Example
from tui_trainer.store import jobs

CHAT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "first"},
    {"role": "user", "content": "two?"},
    {"role": "assistant", "content": "second"},
]


@pytest.fixture(scope="session")
def tokenizer(tiny_base: Path) -> Any:
    from tui_trainer.models.base_model import load_tokenizer

    return load_tokenizer(str(tiny_base))


def dataset(file: Path, tokenizer: Any, **settings: Any) -> dataset_module.Dataset:
    values = {"data": {"train": str(file), **settings}}
    return dataset_module.load_dataset(jobs.check_job(values, file.parent, "test"), tokenizer)


def learned_text(example: Example, tokenizer: Any) -> str:
    ids = [i for i, on in zip(example.input_ids, example.learned, strict=True) if on]
    return str(tokenizer.decode(ids))


@pytest.mark.parametrize(
    ("row", "learned"),
    [
        ({"question": "q", "answer": "the cat"}, "the cat<|end|>"),
        ({"prompt": "q", "completion": "the cat"}, "the cat<|end|>"),
        ({"query": "q", "response": "the cat"}, "the cat<|end|>"),
        ({"instruction": "q", "input": "more", "output": "the cat"}, "the cat<|end|>"),
        ({"messages": CHAT}, "first<|end|>second<|end|>"),
        ({"text": "all of it"}, "all of it<|end|>"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_only_the_answers_are_learned(
    row: dict[str, object], learned: str, write_rows: Callable[..., Path], tokenizer: Any
) -> None:
    found = dataset(write_rows("t.jsonl", [row]), tokenizer)
    assert learned_text(found.train[0], tokenizer) == learned


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    values = [{"question": "a,b?", "answer": 'say "c"'}, {"question": "d\ne", "answer": "f"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, values)) + "\n\n")
    (tmp_path / "t.json").write_text(json.dumps(values, indent=1))
    (tmp_path / "t.csv").write_text('question,answer\n"a,b?","say ""c"""\n"d\ne",f\n')
    read = [
        [row.messages for row in row_formats.read_rows([tmp_path / name]).found]
        for name in ("t.jsonl", "t.json", "t.csv")
    ]
    assert read[0] == read[1] == read[2]


def test_a_template_whose_answers_do_not_follow_their_prompts_is_refused(
    write_rows: Callable[..., Path], tokenizer: Any
) -> None:
    import copy

    strange = copy.deepcopy(tokenizer)
    strange.chat_template = (
        "{{ messages|length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    with pytest.raises(
        UserError, match=r"does not write an answer after the prompt for it .*line 1"
    ):
        dataset(write_rows("t.jsonl", [{"messages": CHAT}]), strange)


def test_long_rows_are_cut_and_reported(write_rows: Callable[..., Path], tokenizer: Any) -> None:
    file = write_rows(
        "t.jsonl",
        [{"question": "q", "answer": "x" * 100}, {"question": "y" * 100, "answer": "never seen"}],
    )
    found = dataset(file, tokenizer, max_length=32)
    assert [len(example.input_ids) for example in found.train] == [32]
    assert found.notices == [
        "2 of 2 training rows longer than 32 tokens: cut",
        "1 training row left out: no answer within 32 tokens",
    ]


def test_the_split_is_disjoint_and_seeded(write_rows: Callable[..., Path], tokenizer: Any) -> None:
    file = write_rows("t.jsonl", [{"question": f"{i}", "answer": f"n{i}"} for i in range(40)])
    one, again = (dataset(file, tokenizer, val_split=0.25) for _ in range(2))
    texts = [{learned_text(e, tokenizer) for e in part} for part in (one.train, one.validation)]
    assert [len(part) for part in texts] == [30, 10]
    assert not texts[0] & texts[1]
    assert again == one


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.jsonl", "not json\n", "t.jsonl has no row that can be read; line 1: not valid"),
        ("t.jsonl", "\n\n", "no examples"),
        ("t.jsonl", "[1]\n", "row 1: not an object with named fields"),
        ("t.json", '{"a": 1}', "t.json: fields not recognised (a)"),
        ("t.csv", "question,answer\nwhy?\n", "no answer field beside 'question' (t.csv line 2)"),
        ("t.jsonl", '{"question": {"a": 1}, "answer": "x"}\n', "'question' is not text"),
        ("t.jsonl", '{"messages": [{"role": "boss", "content": "x"}]}\n', "line 1: boss"),
        (
            "t.jsonl",
            '{"messages": [{"content": "x"}]}\n',
            "not a list of turns with role and content",
        ),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        row_formats.read_rows([tmp_path / name])
    assert sentence in str(caught.value)


EXAMPLES = [Example([i] * 3, [0, 1, 1], 1.0) for i in range(200)]


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.integers(0, 5))
def test_every_epoch_sees_every_example_once(
    count: int, batch_size: int, accumulation: int, epoch: int
) -> None:
    settings = TrainingSettings(
        batch_size=batch_size, gradient_accumulation_steps=accumulation, epochs=2
    )
    plan = BatchPlan(EXAMPLES[:count], settings)
    first = epoch * plan.steps_per_epoch
    seen = [e for s in range(first, first + plan.steps_per_epoch) for e in plan.examples(s)]
    assert sorted(e.input_ids[0] for e in seen) == list(range(count))
    assert plan.total_steps == 2 * plan.steps_per_epoch
    assert plan.epoch(first + plan.steps_per_epoch) == epoch + 1


def test_epochs_have_their_own_reproducible_order() -> None:
    orders = [batching.epoch_order(50, seed=1, epoch=e).tolist() for e in range(3)]
    assert orders[0] != orders[1] != orders[2]
    assert orders[1] == batching.epoch_order(50, seed=1, epoch=1).tolist()
    assert orders[1] != batching.epoch_order(50, seed=2, epoch=1).tolist()


def test_padding_is_not_learned() -> None:
    import torch

    pair = [Example([5, 6, 7, 8], [0, 0, 1, 1], 2.0), Example([5, 6], [0, 1], 1.0)]
    padded = batching.collate(pair, pad_id=0, device=torch.device("cpu"))
    assert padded.input_ids.tolist() == [[5, 6, 7, 8], [5, 6, 0, 0]]
    assert padded.attention_mask is not None and padded.segments is None
    assert padded.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert padded.positions.tolist() == [1, 2, 4]
    beside = batching.collate(pair, pad_id=0, device=torch.device("cpu"), packed=True)
    assert beside.input_ids.tolist() == [[5, 6, 7, 8, 5, 6]]
    assert beside.attention_mask is None and beside.segments is not None
    assert beside.segments.bounds.tolist() == [0, 4, 6]
    assert beside.segments.positions().tolist() == [[0, 1, 2, 3, 0, 1]]
    assert beside.positions.tolist() == [1, 2, 4]
    for batch in (padded, beside):
        assert batch.targets.tolist() == [7, 8, 6]
        assert batch.weights.tolist() == [2.0, 2.0, 1.0]
    assert batching.learned_weight(pair) == 5.0


def test_packed_examples_that_begin_alike_share_their_beginning() -> None:
    import torch

    cpu = torch.device("cpu")
    alike = [
        Example([1, 2, 3, 7, 8], [0, 0, 0, 0, 1], 2.0),
        Example([1, 2, 3, 9], [0, 0, 0, 1], 1.0),
        Example([1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 1, 1], 1.0),
    ]
    batch = batching.collate(alike, pad_id=0, device=cpu, packed=True)
    # The third token is not shared: of one example its prediction is learned.
    assert batch.input_ids.tolist() == [[1, 2, 3, 7, 8, 3, 9, 3, 4, 5, 6]]
    assert batch.segments is not None
    assert batch.segments.positions().tolist() == [[0, 1, 2, 3, 4, 2, 3, 2, 3, 4, 5]]
    assert batch.positions.tolist() == [3, 5, 8, 9]
    assert batch.targets.tolist() == [8, 9, 5, 6]
    for other in (Example([1, 4], [0, 1], 1.0), Example([9, 2, 3], [0, 0, 1], 1.0)):
        batch = batching.collate([*alike, other], pad_id=0, device=cpu, packed=True)
        assert batch.input_ids.shape[1] == 15 + len(other.input_ids)
